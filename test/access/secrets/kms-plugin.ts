import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import { createServer as createRawServer, type Server, type Socket } from 'node:net';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  type DecryptRequest,
  type EncryptRequest,
  EncryptResponseSchema,
  KeyManagementService,
  StatusResponseSchema,
} from '../../../gen/kms/v2/kms_pb.ts';

const NONCE = 'nonce.kms.test';
const TAG_BYTES = 16;

type Encrypted = MessageInitShape<typeof EncryptResponseSchema>;
type Status = MessageInitShape<typeof StatusResponseSchema>;

/**
 * A KMS with its plugin on a Unix socket: keys for AES-256-GCM, the newest of which encrypts. Each of its answers can be spoiled.
 * What it was given is kept.
 */
export class KmsPlugin {
  readonly socketPath: string;
  readonly seen: Uint8Array[] = [];
  calls = 0;
  /** CTR has no tag: who flips a bit of the ciphertext flips it in the plaintext. */
  cipher: 'aes-256-gcm' | 'aes-256-ctr' = 'aes-256-gcm';
  onStatus: (status: Status) => Status = (status) => status;
  onEncrypt: (encrypted: Encrypted) => Encrypted = (encrypted) => encrypted;
  onDecrypt: (decrypted: () => Buffer) => Buffer = (decrypted) => decrypted();
  readonly #keys = new Map<string, Buffer>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  #server: Http2Server | Server | undefined;
  #isFrozen = false;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
    this.rotate();
  }

  get newestId(): string {
    return [...this.#keys.keys()].at(-1) ?? '';
  }

  /** @returns the id of the new key */
  rotate(): string {
    const id = `arn:test:key/${this.#keys.size + 1}`;
    this.#keys.set(id, randomBytes(32));
    return id;
  }

  async start(): Promise<void> {
    const handler = connectNodeAdapter({
      routes: ({ service }) =>
        service(KeyManagementService, {
          status: () => this.#answer(() => this.onStatus(this.#status())),
          encrypt: (request) => this.#answer(() => this.onEncrypt(this.#encrypt(request))),
          decrypt: (request) => this.#answer(() => ({ plaintext: this.onDecrypt(() => this.#decrypt(request)) })),
        }),
    });
    const server = createServer(handler);
    server.on('session', (session) => {
      this.#sessions.add(session);
      // A client that goes away under a call is what some tests are about.
      session.on('error', () => undefined);
    });
    await this.#listen(server);
  }

  /** As by SIGKILL, but that nothing is left of its socket. */
  async kill(): Promise<void> {
    this.#isFrozen = false;
    const closed = new Promise((resolve) =>
      this.#server === undefined ? resolve(undefined) : this.#server.close(resolve),
    );
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    this.#sessions.clear();
    this.#sockets.clear();
    await closed;
    this.#server = undefined;
    await rm(this.socketPath, { force: true });
  }

  /** Keeps its connections and answers nothing; another may listen on its socket. */
  async freeze(): Promise<void> {
    this.#isFrozen = true;
    await rm(this.socketPath, { force: true });
  }

  /** Takes connections, and does not read from them. */
  async startHung(): Promise<void> {
    await this.#listen(
      createRawServer((socket) => {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
      }),
    );
  }

  async #listen(server: Http2Server | Server): Promise<void> {
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.socketPath, resolve));
  }

  async #answer<T>(work: () => T): Promise<T> {
    this.calls++;
    if (this.#isFrozen) await new Promise(() => undefined);
    return work();
  }

  #status(): Status {
    return create(StatusResponseSchema, { version: 'v2', healthz: 'ok', keyId: this.newestId });
  }

  #encrypt({ plaintext }: EncryptRequest): Encrypted {
    this.seen.push(plaintext);
    const nonce = randomBytes(this.cipher === 'aes-256-gcm' ? 12 : 16);
    const key = this.#key(this.newestId);
    const parts = this.cipher === 'aes-256-gcm' ? gcm(key, nonce, plaintext) : [ctr(key, nonce, plaintext)];
    return create(EncryptResponseSchema, {
      ciphertext: Buffer.concat(parts),
      keyId: this.newestId,
      annotations: { [NONCE]: nonce },
    });
  }

  #decrypt({ ciphertext, keyId, annotations }: DecryptRequest): Buffer {
    const nonce = annotations[NONCE] ?? new Uint8Array(12);
    // The words and the code of the plugin for AWS: the same for whatever goes wrong.
    const refusal = new ConnectError('failed to decrypt words-of-the-plugin', Code.Unknown);
    try {
      if (this.cipher === 'aes-256-ctr') return ctr(this.#key(keyId), nonce, ciphertext);
      const decipher = createDecipheriv(this.cipher, this.#key(keyId), nonce, { authTagLength: TAG_BYTES });
      decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(ciphertext.subarray(0, -TAG_BYTES)), decipher.final()]);
    } catch {
      throw refusal;
    }
  }

  #key(id: string): Buffer {
    const key = this.#keys.get(id);
    if (key === undefined) throw new ConnectError('no such key', Code.NotFound);
    return key;
  }
}

function gcm(key: Buffer, nonce: Uint8Array, plaintext: Uint8Array): Buffer[] {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  return [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
}

/** Both ways. */
function ctr(key: Buffer, nonce: Uint8Array, text: Uint8Array): Buffer {
  return createCipheriv('aes-256-ctr', key, nonce).update(text);
}
