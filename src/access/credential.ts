import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/**
 * An API key as it is carried: `meterd_<id>_<secret>`. The id (64 bits) finds the key; the secret (256 bits) proves it and
 * is stored as its SHA-256 only. A fast hash is right here: there is nothing to guess in 256 random bits.
 */
export interface Credential {
  readonly keyId: string;
  readonly secret: string;
}

const ID_BYTES = 8;
const SECRET_BYTES = 32;
const FORM = /^meterd_([0-9a-f]{16})_([0-9a-f]{64})$/;

export function newCredential(): Credential {
  return { keyId: randomBytes(ID_BYTES).toString('hex'), secret: randomBytes(SECRET_BYTES).toString('hex') };
}

export function formatCredential(credential: Credential): string {
  return `meterd_${credential.keyId}_${credential.secret}`;
}

/** `undefined` where the text is no credential of ours. */
export function parseCredential(text: string): Credential | undefined {
  const [, keyId, secret] = FORM.exec(text) ?? [];
  return keyId === undefined || secret === undefined ? undefined : { keyId, secret };
}

export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Takes the same time wherever the difference lies. */
export function secretMatches(secret: string, hash: Uint8Array): boolean {
  return timingSafeEqual(hashSecret(secret), hash);
}
