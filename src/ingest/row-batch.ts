import { endianness } from 'node:os';
import { PRECEDENCE_MAX, type Provenance, type Window } from './window.ts';
import { WORD_COLUMNS, type WindowBlock } from './window-block.ts';
import { windowKernel, type WireMessage } from './window-kernel.ts';

/** Memory of batches that have ended, for the next ones: fresh memory for each batch would cost more than its rows. */
const spare: Buffer[] = [];
const SPARE_MAX = 64;
const SPARE_BYTES_MIN = 16 * 1024;
const SPARE_BYTES_MAX = 1024 * 1024;

if (endianness() !== 'LE')
  throw new Error('meterd writes numbers as this processor does, which has to be little-endian');

/**
 * A batch's windows as they are written, column by column, in two ways that give the same bytes: from the wire, and from a
 * parsed `Window`. From its beginning until `block` no other batch may begin, since both would write into the same memory.
 */
export class RowBatch {
  /** What deduplication needs to know of the window written last. */
  readonly head = windowKernel;
  /** Windows kept. */
  count = 0;

  readonly #call: Buffer;
  readonly #capacity: number;
  /** The kernel's, for as long as it holds this batch's windows. */
  readonly #turn: number;
  #memory: Buffer | undefined;
  #block: WindowBlock | undefined;

  /** @param windows the most that are kept at once @param message where they come from the wire */
  constructor(windows: number, provenance: Provenance, message?: WireMessage) {
    this.#call = callColumns(provenance);
    this.#capacity = windows;
    this.#turn = windowKernel.begin(windows, message);
  }

  /** @returns false where a window is not beyond doubt: then nothing was written */
  addWire(start: number, end: number): boolean {
    if (!windowKernel.addWire(start, end)) return false;
    this.count++;
    return true;
  }

  addWindow(window: Window): void {
    if (this.count === this.#capacity)
      throw new RangeError(`more than the ${this.count} windows that there is room for`);
    windowKernel.addParsed(wordsOf(window), [window.customerId, window.vmId, window.region, window.bootId]);
    this.count++;
  }

  /** Takes the last window back. It must be the one just written. */
  dropLast(): void {
    windowKernel.dropLast();
    this.count--;
  }

  /** All windows that were kept; from now on there are no more. It is lent until `release`. */
  block(): WindowBlock {
    if (this.#block !== undefined) return this.#block;
    if (windowKernel.turn !== this.#turn) throw new Error('another batch has begun before this one was closed');
    const columns = windowKernel.close(this.count, WORD_COLUMNS.length);
    const memory = spareMemory(columns.reduce((bytes, column) => bytes + column.length, 0));
    this.#memory = memory;
    let at = 0;
    const [words, customers, vms, regions, boots] = columns.map((column) => {
      const start = at;
      at += column.copy(memory, start);
      return memory.subarray(start, at);
    });
    if (!words || !customers || !vms || !regions || !boots) throw new Error('a block has words and four texts');
    this.#block = { count: this.count, words, texts: [customers, vms, regions, boots], call: this.#call };
    return this.#block;
  }

  /** Gives the memory back. Nothing of the batch may be used afterwards. */
  release(): void {
    const memory = this.#memory;
    if (memory !== undefined && spare.length < SPARE_MAX && memory.length <= SPARE_BYTES_MAX) spare.push(memory);
    this.#memory = undefined;
    this.#block = undefined;
    this.count = 0;
  }
}

/** At least so many bytes. */
function spareMemory(bytes: number): Buffer {
  const memory = spare.pop();
  if (memory !== undefined && memory.length >= bytes) return memory;
  return Buffer.allocUnsafeSlow(Math.max(SPARE_BYTES_MIN, 2 ** Math.ceil(Math.log2(bytes))));
}

/** `CALL_COLUMNS` of a call. */
function callColumns(provenance: Provenance): Buffer {
  const { instanceId, sequence, credentialId, receivedAtNanos } = provenance;
  const bytes = Buffer.alloc(Buffer.byteLength(instanceId) + Buffer.byteLength(credentialId) + 26);
  let at = writeText(bytes, instanceId, 0);
  at = bytes.writeBigUInt64LE(sequence, at);
  at = writeText(bytes, credentialId, at);
  return bytes.subarray(0, bytes.writeBigUInt64LE(PRECEDENCE_MAX - receivedAtNanos, at));
}

/** With its length before it, as LEB128. @returns where it ends */
function writeText(bytes: Buffer, text: string, start: number): number {
  let at = start;
  let length = Buffer.byteLength(text);
  while (length >= 0x80) {
    bytes[at++] = (length & 0x7f) | 0x80;
    length >>>= 7;
  }
  bytes[at++] = length;
  return at + bytes.write(text, at);
}

const words = new BigUint64Array(15);
const gauges = new Float64Array(words.buffer);

/** As `WindowKernel.addParsed` takes them. It is lent until the next call. */
function wordsOf(window: Window): BigUint64Array {
  words[0] = window.startNanos;
  words[1] = window.endNanos;
  words[2] = window.cpuTimeNanos;
  gauges[3] = window.cpuUtilizationPct;
  gauges[4] = window.cpuCoresUsed;
  words[5] = window.memoryBytesUsed;
  words[6] = window.memoryBytesPeak;
  words[7] = window.memoryByteSeconds;
  words[8] = window.diskReadBytes;
  words[9] = window.diskWriteBytes;
  words[10] = window.diskReadOps;
  words[11] = window.diskWriteOps;
  words[12] = window.networkRxBytes;
  words[13] = window.networkTxBytes;
  words[14] = window.sampledAtNanos;
  return words;
}
