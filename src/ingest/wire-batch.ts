import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** The windows of one call as they came: their bytes, none of them looked at. An object for each would cost a fifth of reading it. */
export interface WireBatch {
  /** Holds the windows, and what lay between them. */
  readonly bytes: Uint8Array;
  readonly length: number;
  /** Where the window `i` starts, at `2 * i`, and where it ends, behind that. At least so long; the rest means nothing. */
  readonly bounds: Uint32Array;
}

/** A call's message taken apart. */
export interface SplitBatch {
  readonly windows: WireBatch;
  /** The other fields, still encoded. */
  readonly rest: Uint8Array;
}

/** The field `metrics` of `SendMetricsBatchRequest`. */
const METRICS = 1;
/** As it is always written. The reader's own way makes an object of each: a sixth of all that a call leaves to be swept up. */
const METRICS_TAG = (METRICS << 3) | WireType.LengthDelimited;
/** The most that can be allowed in one batch. */
const WINDOWS_MAX = 100_000;
/** A call has five other fields. Passing over a third of a million that nobody knows would hold the event loop for 15 ms. */
const OTHERS_MAX = 1024;
/** What most batches have. */
const WINDOWS_USUAL = 1024;

/**
 * Takes the message of a `SendMetricsBatch` call apart, without a look into its windows.
 * @throws Error where it is cut off or garbled, in the decoder's own words; RangeError where there is too much of it
 */
export function splitBatch(message: Uint8Array): SplitBatch {
  const reader = new BinaryReader(message);
  const rest: Uint8Array[] = [];
  let bounds = new Uint32Array(2 * WINDOWS_USUAL);
  let length = 0;
  let restStart = 0;
  let others = 0;
  while (reader.pos < reader.len) {
    const start = reader.pos;
    if (message[start] === METRICS_TAG) reader.pos++;
    else {
      // Of a window too, where its tag takes more bytes than it needs.
      const [field, wireType] = reader.tag();
      if (field !== METRICS || wireType !== WireType.LengthDelimited) {
        if (++others > OTHERS_MAX) throw new RangeError(`more than ${OTHERS_MAX} fields beside windows`);
        reader.skip(wireType, field);
        continue;
      }
    }
    if (start > restStart) rest.push(message.subarray(restStart, start));
    const bytes = reader.uint32();
    if (length === WINDOWS_MAX) throw new RangeError(`more than ${WINDOWS_MAX} windows`);
    if (2 * length === bounds.length) bounds = grown(bounds);
    bounds[2 * length] = reader.pos;
    reader.pos += bytes;
    bounds[2 * length + 1] = reader.pos;
    length++;
    // As the reader itself says it where it skips.
    if (reader.pos > reader.len) throw new RangeError('premature EOF');
    restStart = reader.pos;
  }
  if (reader.pos > restStart) rest.push(message.subarray(restStart, reader.pos));
  return { windows: { bytes: message, length, bounds }, rest: Buffer.concat(rest) };
}

function grown(bounds: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(2 * bounds.length);
  larger.set(bounds);
  return larger;
}
