import { createHash, timingSafeEqual } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { KmsWrappedKeySchema } from '../../../gen/meterd/internal/v1/kms_wrapped_key_pb.ts';
import { CallerFault, messageOf } from '../../lib/failure.ts';
import { KEY_BYTES, NotAuthentic } from './aead.ts';
import { KMS_ID_PREFIX, type KeyProvider, type WrappedKey } from './key-provider.ts';
import { checkCiphertext, type KmsCiphertext } from './kms-bounds.ts';
import type { KmsClient } from './kms-client.ts';

/**
 * Wrapping keys in a key management service, which never leave it.
 *
 * The protocol binds a ciphertext to nothing, so what is encrypted is the data key with the SHA-256 of its binding behind it. That is
 * enough: where the KMS's encryption is authenticated, as that of every known one with a symmetric key is, nobody without its key
 * makes another pair of the two. Where it is not, a changed pair gives a data key that is another's or nobody's, and the value,
 * which AES-GCM binds by itself, opens under neither.
 */
export class KmsKeys implements KeyProvider {
  readonly #kms: KmsClient;
  readonly #before: Pick<KeyProvider, 'unwrap'>;

  /** @param before has the keys of what no KMS wrapped */
  constructor(kms: KmsClient, before: Pick<KeyProvider, 'unwrap'>) {
    this.#kms = kms;
    this.#before = before;
  }

  async newestId(): Promise<string> {
    return KMS_ID_PREFIX + (await this.#kms.newestKeyId());
  }

  async wrap(dataKey: Uint8Array, binding: Uint8Array): Promise<WrappedKey> {
    const plaintext = Buffer.concat([dataKey, digestOf(binding)]);
    try {
      const { keyId, ciphertext, annotations } = await this.#kms.encrypt(plaintext);
      const stored = create(KmsWrappedKeySchema, { ciphertext, annotations });
      return { wrappingKeyId: KMS_ID_PREFIX + keyId, bytes: toBinary(KmsWrappedKeySchema, stored) };
    } finally {
      plaintext.fill(0);
    }
  }

  async unwrap(wrapped: WrappedKey, binding: Uint8Array): Promise<Buffer> {
    if (!wrapped.wrappingKeyId.startsWith(KMS_ID_PREFIX)) return this.#before.unwrap(wrapped, binding);
    const plaintext = await this.#kms.decrypt(parse(wrapped));
    if (plaintext === undefined) throw new NotAuthentic('the KMS, which says that it is well, does not open it');
    try {
      if (plaintext.length !== KEY_BYTES + DIGEST_BYTES) {
        throw new NotAuthentic(`${plaintext.length} bytes are no data key with its binding`);
      }
      if (timingSafeEqual(plaintext.subarray(KEY_BYTES), digestOf(binding))) {
        return Buffer.from(plaintext.subarray(0, KEY_BYTES));
      }
      throw new NotAuthentic('it belongs elsewhere');
    } finally {
      plaintext.fill(0);
    }
  }

  async addKey(): Promise<string> {
    const message = 'new_key: a KMS makes its keys itself; have it make one, then rotate without new_key';
    throw new CallerFault('failed_precondition', 'new_key', message);
  }
}

const DIGEST_BYTES = 32;

function digestOf(binding: Uint8Array): Buffer {
  return createHash('sha256').update(binding).digest();
}

/** @throws NotAuthentic where it is nothing that `wrap` stored */
function parse({ wrappingKeyId, bytes }: WrappedKey): KmsCiphertext {
  try {
    const { ciphertext, annotations } = fromBinary(KmsWrappedKeySchema, bytes);
    const parsed = { keyId: wrappingKeyId.slice(KMS_ID_PREFIX.length), ciphertext, annotations };
    checkCiphertext(parsed);
    return parsed;
  } catch (reason) {
    throw new NotAuthentic(`no KMS wrapped it: ${messageOf(reason)}`);
  }
}
