import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { decrypt, encrypt, KEY_BYTES } from './aead.ts';
import type { KeyProvider, WrappedKey } from './key-provider.ts';

/** Whose secret it is, and which. */
export interface SecretId {
  /** Empty: meterd's own. */
  readonly customerId: string;
  readonly name: string;
}

/** A secret as it is stored: under a data key of its own, which is wrapped. */
export interface SealedSecret {
  readonly ciphertext: Uint8Array;
  readonly dataKey: WrappedKey;
}

/** Encrypts under a new data key. Both are bound to the id: in another secret's place neither opens. */
export async function seal(provider: KeyProvider, id: SecretId, plaintext: Uint8Array): Promise<SealedSecret> {
  const dataKey = randomBytes(KEY_BYTES);
  try {
    const ciphertext = encrypt(createSecretKey(dataKey), bindingOf('value', id), plaintext);
    return { ciphertext, dataKey: await provider.wrap(dataKey, bindingOf('data key', id)) };
  } finally {
    dataKey.fill(0);
  }
}

/** @throws NotAuthentic where it is not this secret's; Error where its wrapping key is not held */
export async function unseal(provider: KeyProvider, id: SecretId, sealed: SealedSecret): Promise<Buffer> {
  return decrypt(await dataKeyOf(provider, id, sealed.dataKey), bindingOf('value', id), sealed.ciphertext);
}

/** The same data key under the newest wrapping key. What it encrypts is left as it is. @throws as `unseal` */
export async function rewrap(provider: KeyProvider, id: SecretId, wrapped: WrappedKey): Promise<WrappedKey> {
  const binding = bindingOf('data key', id);
  const dataKey = await provider.unwrap(wrapped, binding);
  try {
    return await provider.wrap(dataKey, binding);
  } finally {
    dataKey.fill(0);
  }
}

async function dataKeyOf(provider: KeyProvider, id: SecretId, wrapped: WrappedKey): Promise<KeyObject> {
  const dataKey = await provider.unwrap(wrapped, bindingOf('data key', id));
  try {
    return createSecretKey(dataKey);
  } finally {
    dataKey.fill(0);
  }
}

/** JSON keeps the parts apart, whatever is in them. */
function bindingOf(part: 'value' | 'data key', { customerId, name }: SecretId): Buffer {
  return Buffer.from(JSON.stringify(['meterd secret', part, customerId, name]));
}
