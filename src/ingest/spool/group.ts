import { beginFrame, FRAME_HEADER_BYTES, frameBytes, sealFrame, type SegmentIdentity } from './format.ts';

/**
 * Records that are written and synced together. Payloads are copied in at once, so that the caller may reuse its
 * bytes, and so that a group costs one checksum per record and one write. Where the group will lie is known only when
 * its turn comes: `seal` completes it then, and may be called again for another place if the first one failed.
 */
export class Group {
  readonly #buffer: Buffer;
  readonly #settled = Promise.withResolvers<void>();
  #bytes = 0;
  #records = 0;
  #firstAtMs = 0;

  /** @param buffer the group's own until it is settled; its length bounds the group */
  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** Resolves once the group is on disk; rejects once it is sure that it will not be. */
  get synced(): Promise<void> {
    return this.#settled.promise;
  }

  get buffer(): Buffer {
    return this.#buffer;
  }

  /** What the frames take up in a segment. */
  get bytes(): number {
    return this.#bytes;
  }

  get records(): number {
    return this.#records;
  }

  /** When its first record was added. */
  get firstAtMs(): number {
    return this.#firstAtMs;
  }

  fits(payloadBytes: number): boolean {
    return this.#bytes + frameBytes(payloadBytes) <= this.#buffer.length;
  }

  add(parts: readonly Uint8Array[], payloadBytes: number, nowMs: number): void {
    if (this.#records === 0) this.#firstAtMs = nowMs;
    beginFrame(this.#buffer, this.#bytes, payloadBytes, nowMs);
    let at = this.#bytes + FRAME_HEADER_BYTES;
    for (const part of parts) {
      this.#buffer.set(part, at);
      at += part.length;
    }
    this.#bytes += frameBytes(payloadBytes);
    // The buffer is used over and over: no bytes of an older record may get into the padding.
    this.#buffer.fill(0, at, this.#bytes);
    this.#records++;
  }

  /** @returns the bytes to write at `offset` of that segment */
  seal(identity: SegmentIdentity, offset: number, firstRecord: number): Buffer {
    let at = 0;
    for (let place = 0; place < this.#records; place++) {
      at = sealFrame(this.#buffer, at, { identity, offset: offset + at, record: firstRecord + place, place });
    }
    return this.#buffer.subarray(0, at);
  }

  resolve(): void {
    this.#settled.resolve();
  }

  reject(reason: unknown): void {
    this.#settled.reject(reason);
  }
}
