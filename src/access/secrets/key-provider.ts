/** What ids of a KMS's keys start with. Those of a file are hexadecimal digits, so neither is taken for the other. */
export const KMS_ID_PREFIX = 'kms:';

/** A data key as it is stored: encrypted under a wrapping key. */
export interface WrappedKey {
  /** Names the wrapping key, and says nothing of it. At most 1,028 bytes, none of a control character. */
  readonly wrappingKeyId: string;
  readonly bytes: Uint8Array;
}

/**
 * Holds the keys that data keys are wrapped with, and gives none of them away. There may be several: the newest wraps, the others
 * still unwrap. Any of these may throw NotNow unavailable where the keys are another process's.
 */
export interface KeyProvider {
  /** The id of the newest key, as it is now: another process may have made one. */
  newestId(): Promise<string>;
  /** Under the newest key. @param binding what the data key belongs to */
  wrap(dataKey: Uint8Array, binding: Uint8Array): Promise<WrappedKey>;
  /**
   * @throws NotAuthentic where it was wrapped for something else, was changed, or a KMS no longer lets its key be used; Error where
   *   the file does not have the wrapping key
   */
  unwrap(wrapped: WrappedKey, binding: Uint8Array): Promise<Buffer>;
  /** Makes a key, which is the newest from here on. @returns its id. @throws CallerFault failed_precondition where a KMS does that */
  addKey(): Promise<string>;
}
