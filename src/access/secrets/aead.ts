import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';

/** AES-256-GCM (NIST SP 800-38D), with a nonce of 96 random bits and a tag of 128: nonce, tag, ciphertext, one behind the other. */
const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const KEY_BYTES = 32;

/** What was encrypted under another key, belongs elsewhere, or was changed. Which of them it is cannot be told. */
export class NotAuthentic extends Error {
  override readonly name = 'NotAuthentic';
}

/** @param binding what the plaintext belongs to; `decrypt` takes it for nothing else */
export function encrypt(key: KeyObject, binding: Uint8Array, plaintext: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES }).setAAD(binding);
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]);
}

/** @throws NotAuthentic where it is not what `encrypt` made with the same key and binding */
export function decrypt(key: KeyObject, binding: Uint8Array, sealed: Uint8Array): Buffer {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new NotAuthentic(`${sealed.length} bytes hold no nonce and tag`);
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const tag = sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES }).setAAD(binding);
  decipher.setAuthTag(tag);
  const plaintext = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
  try {
    return Buffer.concat([plaintext, decipher.final()]);
  } catch {
    throw new NotAuthentic('it was encrypted under another key, belongs elsewhere, or was changed');
  } finally {
    plaintext.fill(0);
  }
}
