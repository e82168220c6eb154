/** A data key as it is stored: encrypted under a wrapping key. */
export interface WrappedKey {
  /** Names the wrapping key, and says nothing of it. */
  readonly wrappingKeyId: string;
  readonly bytes: Uint8Array;
}

/**
 * Holds the keys that data keys are wrapped with, and gives none of them away. There may be several: the newest wraps, the others
 * still unwrap. What is asked of one is what key management services offer, so that one can stand behind it.
 */
export interface KeyProvider {
  /** The id of the newest key, as it is now: another process may have made one. */
  newestId(): Promise<string>;
  /** Under the newest key. @param binding what the data key belongs to */
  wrap(dataKey: Uint8Array, binding: Uint8Array): Promise<WrappedKey>;
  /** @throws NotAuthentic where it was wrapped for something else; Error where the wrapping key is not held */
  unwrap(wrapped: WrappedKey, binding: Uint8Array): Promise<Buffer>;
  /** Makes a key, which is the newest from here on. @returns its id */
  addKey(): Promise<string>;
}
