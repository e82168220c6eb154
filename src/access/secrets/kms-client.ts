import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { type CallOptions, type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { KeyManagementService } from '../../../gen/kms/v2/kms_pb.ts';
import { CircuitBreaker, type CircuitChange } from '../../lib/circuit-breaker.ts';
import { messageOf, NotNow } from '../../lib/failure.ts';
import { retry } from '../../lib/retry.ts';
import { ANSWER_BYTES_MAX, checkCiphertext, checkKeyId, type KmsCiphertext } from './kms-bounds.ts';

export interface KmsClientOptions {
  /** Of the Unix socket that the plugin listens on. */
  readonly socketPath: string;
  /** Told of every failure that keeps calls away, with its reason. Must not throw. */
  readonly onCircuit: (change: CircuitChange) => void;
  /** For a call with all its tries. */
  readonly timeoutMs?: number;
}

/** What Kubernetes gives a plugin where nothing else is set. */
const TIMEOUT_MS = 3_000;
/** Each failure opens: it was tried again already, and what opens the circuit is told and logged with its reason. */
const CIRCUIT = { failuresMax: 1, delayMs: 500, delayMsMax: 30_000 };
/** For a plugin that restarts: its connection breaks under the call, or its socket does not listen yet. */
const TRIES = { attemptsMax: 3, delayMs: 100, delayMsMax: 1_000 };
const WORTH_ANOTHER_TRY: ReadonlySet<Code> = new Set([Code.Unavailable, Code.Aborted, Code.Canceled]);
/** Codes that say nothing of what was sent. */
const SAYS_NOT_NOW: ReadonlySet<Code> = new Set([...WORTH_ANOTHER_TRY, Code.DeadlineExceeded, Code.ResourceExhausted]);
/** Plugins still answer the second, which is what the same protocol was called before Kubernetes 1.29. */
const VERSIONS = ['v2', 'v2beta1'];
/** As Kubernetes does. The socket is what is connected to. */
const AUTHORITY = 'http://localhost';
/** Of a plugin's words in the log. */
const WORDS_MAX = 300;

/**
 * Speaks to a Kubernetes KMS v2 plugin, over one connection that is made anew when it breaks. Every call ends within the timeout.
 * Whatever goes wrong on the plugin's side is NotNow unavailable; what it said goes to the log, never to a caller.
 */
export class KmsClient {
  readonly #session: Http2SessionManager;
  readonly #plugin: Client<typeof KeyManagementService>;
  readonly #breaker: CircuitBreaker;
  readonly #timeoutMs: number;
  readonly #closed = new AbortController();

  /** Connects when it is used. */
  constructor({ socketPath, onCircuit, timeoutMs = TIMEOUT_MS }: KmsClientOptions) {
    this.#session = new Http2SessionManager(AUTHORITY, {}, { createConnection: () => connect(socketPath) });
    this.#plugin = createClient(
      KeyManagementService,
      createGrpcTransport({
        baseUrl: AUTHORITY,
        sessionManager: this.#session,
        readMaxBytes: ANSWER_BYTES_MAX,
        acceptCompression: [],
      }),
    );
    this.#breaker = new CircuitBreaker({ ...CIRCUIT, target: 'the KMS plugin', onChange: onCircuit });
    this.#timeoutMs = timeoutMs;
  }

  /** The id of the key that encrypts now. @throws NotNow unavailable */
  async newestKeyId(): Promise<string> {
    return this.#call('Status', (options) => this.#status(options));
  }

  /** @throws NotNow unavailable */
  async encrypt(plaintext: Uint8Array): Promise<KmsCiphertext> {
    return this.#call('Encrypt', async (options) => {
      const request = { plaintext, uid: randomUUID() };
      const answer = await tried(() => this.#plugin.encrypt(request, options), options);
      checkCiphertext(answer);
      return { keyId: answer.keyId, ciphertext: answer.ciphertext, annotations: answer.annotations };
    });
  }

  /** @returns `undefined` where the plugin, which says that it is well, refuses it. @throws NotNow unavailable */
  async decrypt(encrypted: KmsCiphertext): Promise<Uint8Array | undefined> {
    return this.#call('Decrypt', async (options) => {
      try {
        const request = { ...encrypted, uid: randomUUID() };
        return (await tried(() => this.#plugin.decrypt(request, options), options)).plaintext;
      } catch (reason) {
        if (!isRefusal(reason)) throw reason;
        // Plugins answer UNKNOWN for nearly everything, so the code does not tell a ciphertext that was changed from a KMS that is
        // away. Their health does.
        await this.#status(options);
        return undefined;
      }
    });
  }

  /** Calls under way end with an error, and so does every later one. */
  close(): void {
    this.#closed.abort(new Error('the connection is closed'));
    this.#session.abort();
  }

  async #status(options: LimitedCall): Promise<string> {
    const { version, healthz, keyId } = await tried(() => this.#plugin.status({}, options), options);
    if (!VERSIONS.includes(version)) throw new Error(`it speaks the version ${quoted(version)}, not ${VERSIONS[0]}`);
    if (healthz !== 'ok') throw new Error(`it says of its health ${quoted(healthz)}`);
    checkKeyId(keyId);
    return keyId;
  }

  async #call<T>(method: string, work: (options: LimitedCall) => Promise<T>): Promise<T> {
    try {
      return await this.#breaker.run(() => this.#limited(method, work));
    } catch (reason) {
      if (reason instanceof NotNow) throw reason;
      const retryAfterMs = Math.max(this.#breaker.waitMs, CIRCUIT.delayMs);
      throw new NotNow('unavailable', retryAfterMs, 'the KMS plugin failed, the log says how; try again later');
    }
  }

  /** @throws KmsPluginError */
  async #limited<T>(method: string, work: (options: LimitedCall) => Promise<T>): Promise<T> {
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    const signal = AbortSignal.any([timeout, this.#closed.signal]);
    try {
      return await work({ signal, timeoutMs: this.#timeoutMs });
    } catch (reason) {
      const hung = timeout.aborted || codeOf(reason) === Code.DeadlineExceeded;
      // A process that hangs keeps its connection, and one that took its place is not on the other end of it.
      if (hung) this.#session.abort();
      const words = hung ? `no answer within ${this.#timeoutMs} ms` : messageOf(reason).slice(0, WORDS_MAX);
      throw new KmsPluginError(`KMS plugin, ${method}: ${words}`);
    }
  }
}

/** With as much of the plugin's words as is logged, and no cause: that has all of them. */
class KmsPluginError extends Error {
  override readonly name = 'KmsPluginError';
}

type LimitedCall = CallOptions & { readonly signal: AbortSignal };

/** Every call of the protocol may be made twice. */
async function tried<T>(work: () => Promise<T>, { signal }: LimitedCall): Promise<T> {
  const retryable = (reason: unknown): boolean => WORTH_ANOTHER_TRY.has(codeOf(reason) ?? Code.Unknown);
  return retry(work, { ...TRIES, signal, retryable });
}

/** Whether it is an answer, and one to what was sent: a connection that broke has no status of gRPC's. */
function isRefusal(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.metadata.has('grpc-status') && !SAYS_NOT_NOW.has(reason.code);
}

function codeOf(reason: unknown): Code | undefined {
  return reason instanceof ConnectError ? reason.code : undefined;
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, WORDS_MAX));
}
