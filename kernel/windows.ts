/**
 * The windows of one call, from protobuf to columns: the part of the ingest path that runs for every single window, and so the
 * only one that is not plain TypeScript. It is AssemblyScript (https://www.assemblyscript.org), which looks like TypeScript
 * and becomes WebAssembly: `npm run generate` writes `gen/kernel/windows.wasm`, and `src/ingest/row-batch.ts` uses it.
 * Why: docs/decisions/0009-windows-in-webassembly.md.
 *
 * It holds one call's windows at a time. Memory, by address:
 *
 * | where | what |
 * | --- | --- |
 * | HEAD | of the window written last, what deduplication needs to know: f64 hour, offset, length; u32 hash, low and high; u32 where customer, VM and region start and end |
 * | PARSED | a window that TypeScript has parsed: u64 start, end, twelve values, time of the sample; customer, VM, region, boot: u32 length and the bytes |
 * | PLACES | of each of the four texts, u32 where it starts and ends: of a window in the message, and after `close` of the whole column |
 * | COLUMNS | 16 columns of words, 4 columns of texts, the call's message |
 *
 * Fields of a window are those of `BillingMetrics` in `billing/v1/metrics.proto`; the wire format is
 * https://protobuf.dev/programming-guides/encoding/. `addWire` understands what hosts normally send and answers false to
 * everything else: it may be narrow, but never wrong.
 */

const HEAD: usize = 1024;
const PARSED: usize = 1280;
const PARSED_TEXTS: usize = PARSED + 15 * 8;
const PARSED_TEXT_BYTES: usize = 4 + 128;
const PLACES: usize = 3072;
/** Of the window that is being read: u64 seconds and nanoseconds of sample, start and end; then its twelve values. */
const TIMES: usize = PLACES + 4 * 8;
const VALUES: usize = TIMES + 6 * 8;
const READ_END: usize = VALUES + 12 * 8;
const COLUMNS: usize = 4096;

const WORD: usize = 8;
const WORD_COLUMNS: usize = 16;
const CUSTOMER: usize = 0;
const VM: usize = 1;
const REGION: usize = 2;
const BOOT: usize = 3;
/** The longest id with its length before it. */
const TEXT_BYTES_MAX: usize = 130;
/** The longest text whose length takes one byte. */
const SHORT_BYTES_MAX: usize = 127;
const REGION_BYTES_MAX: usize = 64;
/** As many as "default-customer" has, the id of nobody. */
const NOBODY_BYTES: usize = 16;
/** Eight bytes are read and written at once, also where a text or the message has fewer left. */
const SLACK: usize = 16;
const PAGE: usize = 65_536;

/** Years 2000 to 2200 and the longest window, as `validate.ts` has them. */
const EARLIEST_SECONDS: u64 = 946_684_800;
const LATEST_SECONDS: u64 = 7_258_118_400;
const HOUR_SECONDS: u64 = 3600;
const SECOND_NANOS: u64 = 1_000_000_000;

/** Bits of the fields that must be there: start and end. */
const SEEN_START_AND_END: u32 = 0x60;
const SEEN_SAMPLED: u32 = 0x10;

let capacity: usize = 0;
let count: usize = 0;
/** Where each column of texts, and its last text, begins and ends. */
let customers: usize = 0;
let customerStart: usize = 0;
let customerEnd: usize = 0;
let vms: usize = 0;
let vmStart: usize = 0;
let vmEnd: usize = 0;
let regions: usize = 0;
let regionStart: usize = 0;
let regionEnd: usize = 0;
let boots: usize = 0;
let bootStart: usize = 0;
let bootEnd: usize = 0;
/** Seconds that a window's end has to lie between to be beyond doubt. */
let endsAfter: i64 = 0;
let endsBefore: i64 = 0;
/** What the last varint of nine or ten bytes ended before; 0 where it was none. */
let longEnd: usize = 0;

/**
 * Starts a call, and forgets the one before. Memory may move: its buffer has to be taken anew.
 * @param windows the most that will be added
 * @returns where the message has to be put
 */
export function begin(windows: usize, messageBytes: usize, afterSeconds: f64, beforeSeconds: f64): usize {
  capacity = windows;
  count = 0;
  endsAfter = <i64>afterSeconds;
  endsBefore = <i64>beforeSeconds;
  const step = windows * TEXT_BYTES_MAX + SLACK;
  customers = customerStart = customerEnd = COLUMNS + WORD_COLUMNS * WORD * windows;
  vms = vmStart = vmEnd = customers + step;
  regions = regionStart = regionEnd = vms + step;
  boots = bootStart = bootEnd = regions + step;
  const message = boots + step;
  const pages = (message + messageBytes + SLACK + PAGE - 1) / PAGE;
  const pagesNow = <usize>memory.size();
  if (pages > pagesNow && memory.grow(<i32>(pages - pagesNow)) < 0) unreachable();
  return message;
}

/**
 * Adds the window that lies from `start` to `end` of memory.
 * @returns false where the ordinary way has to look: then nothing was added
 */
export function addWire(start: usize, end: usize): bool {
  if (count >= capacity) unreachable();
  if (!readFields(start, end)) return false;
  const startSeconds = load<u64>(TIMES + 2 * WORD);
  const endSeconds = load<u64>(TIMES + 4 * WORD);
  const sampledSeconds = load<u64>(TIMES);
  if (startSeconds < EARLIEST_SECONDS || startSeconds > endSeconds || endSeconds >= LATEST_SECONDS) return false;
  if (sampledSeconds < EARLIEST_SECONDS || sampledSeconds >= LATEST_SECONDS) return false;
  if (<i64>endSeconds <= endsAfter || <i64>endSeconds >= endsBefore) return false;
  const startNanos = startSeconds * SECOND_NANOS + load<u64>(TIMES + 3 * WORD);
  const lengthNanos = <i64>(endSeconds * SECOND_NANOS + load<u64>(TIMES + 5 * WORD) - startNanos);
  if (lengthNanos <= 0 || lengthNanos > <i64>(HOUR_SECONDS * SECOND_NANOS)) return false;
  // Neither negative nor infinite nor no number: the sign and the exponent of the two doubles.
  if (load<u64>(VALUES + WORD) >> 52 >= 0x7ff || load<u64>(VALUES + 2 * WORD) >> 52 >= 0x7ff) return false;
  if (!addShortTexts()) return false;
  addRow(startNanos, <u64>lengthNanos, sampledSeconds * SECOND_NANOS + load<u64>(TIMES + WORD), VALUES);
  return true;
}

/** Adds the window in PARSED. */
export function addParsed(): void {
  if (count >= capacity) unreachable();
  customerStart = customerEnd;
  customerEnd = addText(CUSTOMER, customerEnd);
  vmStart = vmEnd;
  vmEnd = addText(VM, vmEnd);
  regionStart = regionEnd;
  regionEnd = addText(REGION, regionEnd);
  bootStart = bootEnd;
  bootEnd = addText(BOOT, bootEnd);
  const startNanos = load<u64>(PARSED);
  addRow(startNanos, load<u64>(PARSED + WORD) - startNanos, load<u64>(PARSED + 14 * WORD), PARSED + 2 * WORD);
}

/** Takes back the window added last, once. */
export function dropLast(): void {
  customerEnd = customerStart;
  vmEnd = vmStart;
  regionEnd = regionStart;
  bootEnd = bootStart;
  count--;
}

/** Hashes the twelve values in PARSED, and so many bytes where its texts begin, into HEAD. */
export function hashParsed(bytes: usize): void {
  hashValues(PARSED + 2 * WORD, PARSED_TEXTS, PARSED_TEXTS + bytes);
}

/** Puts the columns of words one behind the other, and tells in PLACES where those of texts lie. */
export function close(): void {
  const bytes = count * WORD;
  if (count < capacity) {
    for (let column: usize = 1; column < WORD_COLUMNS; column++) {
      memory.copy(COLUMNS + column * bytes, COLUMNS + column * capacity * WORD, bytes);
    }
  }
  capacity = count;
  setPlace(CUSTOMER, customers, customerEnd);
  setPlace(VM, vms, vmEnd);
  setPlace(REGION, regions, regionEnd);
  setPlace(BOOT, boots, bootEnd);
}

function setPlace(text: usize, start: usize, end: usize): void {
  store<u32>(PLACES + 8 * text, <u32>start);
  store<u32>(PLACES + 8 * text + 4, <u32>end);
}

/** Into TIMES, VALUES and PLACES. @returns false where anything is odd */
function readFields(start: usize, end: usize): bool {
  for (let word = PLACES; word < READ_END; word += WORD) store<u64>(word, 0);
  let seen: u32 = 0;
  let at = start;
  while (at < end) {
    let tag: u32 = load<u8>(at++);
    if (tag >= 0x80) {
      const next: u32 = load<u8>(at++);
      if (next >= 0x80 || next == 0) return false;
      tag = (tag & 0x7f) | (next << 7);
    }
    const field = tag >>> 3;
    const wireType = tag & 7;
    if (wireType == 1 || wireType == 5) {
      const bytes: usize = wireType == 1 ? 8 : 4;
      if (at + bytes > end) return false;
      if (wireType == 1 && (field == 8 || field == 9)) store<u64>(VALUES + <usize>(field - 7) * WORD, load<u64>(at));
      else if (!isUnknown(field)) return false;
      at += bytes;
      continue;
    }
    const bytes = varintBytes(at);
    const value = bytes != 0 ? varint(at, bytes) : longVarint(at, end);
    at = bytes != 0 ? at + bytes : longEnd;
    if (at == 0 || at > end) return false;
    if (wireType == 0) {
      if (field >= 7 && field <= 18 && field != 8 && field != 9) store<u64>(VALUES + <usize>(field - 7) * WORD, value);
      else if (!isUnknown(field)) return false;
      continue;
    }
    if (wireType != 2 || value > <u64>(end - at)) return false;
    const until = at + <usize>value;
    if (!isUnknown(field)) {
      // A second time would have to be merged with the first, and a text that the second replaces may be no text at all.
      const bit: u32 = 1 << field;
      if ((seen & bit) != 0) return false;
      seen |= bit;
      if (field >= 4 && field <= 6) {
        if (!readTime(TIMES + <usize>(field - 4) * 2 * WORD, at, until)) return false;
      } else if (field == 1) setPlace(VM, at, until);
      else if (field == 2) setPlace(CUSTOMER, at, until);
      else if (field == 3) setPlace(REGION, at, until);
      else if (field == 20) setPlace(BOOT, at, until);
      else return false;
    }
    at = until;
  }
  if ((seen & SEEN_SAMPLED) == 0) memory.copy(TIMES, TIMES + 4 * WORD, 2 * WORD);
  return (seen & SEEN_START_AND_END) == SEEN_START_AND_END;
}

/** A field of a later version, which is passed over. A known one of another wire type is not: that is odd. */
function isUnknown(field: u32): bool {
  return field > 18 && field != 20;
}

/** A `google.protobuf.Timestamp`: seconds and nanoseconds, as two words. */
function readTime(into: usize, start: usize, end: usize): bool {
  let at = start;
  while (at < end) {
    const tag: u32 = load<u8>(at++);
    const bytes = varintBytes(at);
    if (bytes == 0 || at + bytes > end) return false;
    const value = varint(at, bytes);
    at += bytes;
    // Seconds up to 2^35 and nanoseconds below a second take no more than five bytes.
    if (tag == 0x08 && value >> 35 == 0) store<u64>(into, value);
    else if (tag == 0x10 && value < SECOND_NANOS) store<u64>(into + WORD, value);
    else return false;
  }
  return true;
}

/** How many bytes the varint at a place has; 0 where it has more than eight. */
function varintBytes(at: usize): usize {
  const last = ~load<u64>(at) & 0x8080_8080_8080_8080;
  return last == 0 ? 0 : <usize>((ctz(last) >> 3) + 1);
}

/** One of up to eight bytes: the seven lower bits of each, moved together two, four and eight at a time. */
function varint(at: usize, bytes: usize): u64 {
  let value = load<u64>(at) & (<u64>0x7f7f_7f7f_7f7f_7f7f >> (64 - 8 * <u64>bytes));
  value = (value & 0x007f_007f_007f_007f) | ((value & 0x7f00_7f00_7f00_7f00) >> 1);
  value = (value & 0x0000_3fff_0000_3fff) | ((value & 0x3fff_0000_3fff_0000) >> 2);
  return (value & 0x0000_0000_0fff_ffff) | ((value & 0x0fff_ffff_0000_0000) >> 4);
}

/** One of nine or ten bytes, up to `longEnd`. */
function longVarint(at: usize, end: usize): u64 {
  longEnd = 0;
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 64; shift += 7) {
    if (at >= end) return 0;
    const byte: u64 = load<u8>(at++);
    // The tenth byte holds the one bit that is left.
    if (shift == 63 && byte > 1) return 0;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      longEnd = at;
      return value;
    }
  }
  return 0;
}

/** All four texts in PLACES, or none. @returns false where one is empty, long or more than plain ASCII */
function addShortTexts(): bool {
  const customerBytes = textBytes(CUSTOMER);
  const vmBytes = textBytes(VM);
  const regionBytes = textBytes(REGION);
  const bootBytes = textBytes(BOOT);
  if (customerBytes == 0 || customerBytes > SHORT_BYTES_MAX || customerBytes == NOBODY_BYTES) return false;
  if (vmBytes == 0 || vmBytes > SHORT_BYTES_MAX) return false;
  if (regionBytes == 0 || regionBytes > REGION_BYTES_MAX || bootBytes > SHORT_BYTES_MAX) return false;
  if (!copyPlain(CUSTOMER, customerBytes, customerEnd) || !copyPlain(VM, vmBytes, vmEnd)) return false;
  if (!copyPlain(REGION, regionBytes, regionEnd) || !copyPlain(BOOT, bootBytes, bootEnd)) return false;
  customerStart = customerEnd;
  customerEnd += customerBytes + 1;
  vmStart = vmEnd;
  vmEnd += vmBytes + 1;
  regionStart = regionEnd;
  regionEnd += regionBytes + 1;
  bootStart = bootEnd;
  bootEnd += bootBytes + 1;
  return true;
}

function textBytes(text: usize): usize {
  return load<u32>(PLACES + 8 * text + 4) - load<u32>(PLACES + 8 * text);
}

/** Behind its length. What it writes past the text's end is written over by the next. @returns false where a byte is not from 0x20 to 0x7e */
function copyPlain(text: usize, bytes: usize, to: usize): bool {
  const from: usize = load<u32>(PLACES + 8 * text);
  store<u8>(to, <u8>bytes);
  let odd: u64 = 0;
  for (let i: usize = 0; i < bytes; i += 8) {
    const eight = load<u64>(from + i);
    store<u64>(to + 1 + i, eight);
    const low = (eight - 0x2020_2020_2020_2020) & ~eight;
    const found = (eight | low | (eight + 0x0101_0101_0101_0101)) & 0x8080_8080_8080_8080;
    odd |= bytes - i >= 8 ? found : found & (((<u64>1) << (8 * <u64>(bytes - i))) - 1);
  }
  return odd == 0;
}

/** A text of PARSED, with its length before it as LEB128. @returns where it ends */
function addText(text: usize, at: usize): usize {
  const from = PARSED_TEXTS + text * PARSED_TEXT_BYTES;
  const bytes: usize = load<u32>(from);
  if (bytes > PARSED_TEXT_BYTES - 4) unreachable();
  if (bytes > SHORT_BYTES_MAX) {
    store<u8>(at++, <u8>(bytes & 0x7f) | 0x80);
    store<u8>(at++, <u8>(bytes >> 7));
  } else store<u8>(at++, <u8>bytes);
  memory.copy(at, from + 4, bytes);
  return at + bytes;
}

/** The words of a window whose texts have been added, and HEAD. */
function addRow(startNanos: u64, lengthNanos: u64, sampledNanos: u64, values: usize): void {
  hashValues(values, regionStart, regionEnd);
  const column = capacity * WORD;
  let at = COLUMNS + count * WORD;
  store<u64>(at, startNanos);
  store<u64>((at += column), startNanos + lengthNanos);
  store<u64>((at += column), load<u64>(HEAD + 24));
  for (let i: usize = 0; i < 12; i++) store<u64>((at += column), load<u64>(values + i * WORD));
  store<u64>(at + column, sampledNanos);
  count++;
  const hour = startNanos / (HOUR_SECONDS * SECOND_NANOS);
  store<f64>(HEAD, <f64>hour);
  store<f64>(HEAD + 8, <f64>(startNanos - hour * HOUR_SECONDS * SECOND_NANOS));
  store<f64>(HEAD + 16, <f64>lengthNanos);
  store<u32>(HEAD + 32, <u32>customerStart);
  store<u32>(HEAD + 36, <u32>customerEnd);
  store<u32>(HEAD + 40, <u32>vmStart);
  store<u32>(HEAD + 44, <u32>vmEnd);
  store<u32>(HEAD + 48, <u32>regionStart);
  store<u32>(HEAD + 52, <u32>regionEnd);
}

/**
 * The 64-bit hash of what a window says: the twelve values, then the region with its length before it. It decides whether two reports of one window
 * are the same, and it is part of the table's key: it must never change.
 *
 * Two 32-bit lanes of MurmurHash3's mixing with different constants, crossed at the end. Values that differ in one word
 * never collide; any others do about once in 2^64. It is no defence against a sender who looks for collisions: those would
 * be between two reports of its own.
 */
function hashValues(values: usize, region: usize, regionUntil: usize): void {
  let a: u32 = 0x9747b28c;
  let b: u32 = 0x5bd1e995;
  for (let at = values; at < values + 12 * WORD; at += 4) {
    const word = load<u32>(at);
    a = rotl<u32>(a ^ (rotl<u32>(word * 0xcc9e2d51, 15) * 0x1b873593), 13) * 5 + 0xe6546b64;
    b = rotl<u32>(b ^ (rotl<u32>(word * 0x239b961b, 16) * 0xab0e9789), 17) * 5 + 0x0bcaa747;
  }
  for (let at = region; at < regionUntil; at++) {
    const byte: u32 = load<u8>(at);
    a = (a ^ byte) * 0x01000193;
    b = rotl<u32>((b ^ byte) * 0x2c1b3c6d, 5);
  }
  const bytes = <u32>(regionUntil - region);
  a = finish(a ^ bytes);
  b = finish(b ^ (bytes * 0x9e3779b1));
  a += b;
  store<u32>(HEAD + 24, a);
  store<u32>(HEAD + 28, b + a * 3);
}

/** MurmurHash3's finalizer: every bit of the input reaches every bit of the output. */
function finish(hash: u32): u32 {
  let h = hash;
  h ^= h >>> 16;
  h *= 0x85ebca6b;
  h ^= h >>> 13;
  h *= 0xc2b2ae35;
  return h ^ (h >>> 16);
}
