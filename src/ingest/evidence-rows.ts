/** How one value is laid out: a text with its length as LEB128 before it, a list of texts with its count, one byte, or 64 bits. */
type Kind = 'text' | 'texts' | 'byte' | 'word';

interface ValueOf {
  readonly text: string;
  readonly texts: readonly string[];
  readonly byte: number;
  readonly word: bigint;
}

/**
 * The tables beside `windows` whose rows a spool record may hold, with their columns in ClickHouse's `RowBinary`: one after
 * another, integers little-endian (https://clickhouse.com/docs/interfaces/formats/RowBinary). Times are Unix nanoseconds from
 * 1970 on. Changing the order changes what lies in every spool: it needs a new record version.
 */
export const EVIDENCE_COLUMNS = {
  counter_samples: {
    customer_id: 'text',
    vm_id: 'text',
    sampled_at: 'word',
    value_hash: 'word',
    counters: 'byte',
    boot_id: 'text',
    region: 'text',
    linked_to: 'word',
    cpu_time_nanos: 'word',
    memory_bytes_used: 'word',
    memory_byte_seconds: 'word',
    disk_read_bytes: 'word',
    disk_write_bytes: 'word',
    disk_read_ops: 'word',
    disk_write_ops: 'word',
    network_rx_bytes: 'word',
    network_tx_bytes: 'word',
    instance_id: 'text',
    credential_id: 'text',
    precedence: 'word',
  },
  vm_events: {
    vm_id: 'text',
    at: 'word',
    kind: 'byte',
    customer_id: 'text',
    region: 'text',
    until: 'word',
    instance_id: 'text',
    credential_id: 'text',
    precedence: 'word',
  },
  heartbeats: {
    received_at: 'word',
    credential_id: 'text',
    instance_id: 'text',
    region: 'text',
    vm_ids: 'texts',
  },
  key_customers: {
    credential_id: 'text',
    customer_id: 'text',
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Kind>>>>;

export type EvidenceTable = keyof typeof EVIDENCE_COLUMNS;
type Columns<T extends EvidenceTable> = (typeof EVIDENCE_COLUMNS)[T];
export type EvidenceRow<T extends EvidenceTable> = {
  readonly [C in keyof Columns<T>]: Columns<T>[C] extends Kind ? ValueOf[Columns<T>[C]] : never;
};

/** Rows of one table, as they lie in a record. */
export interface EvidenceRows {
  readonly table: EvidenceTable;
  readonly rowCount: number;
  readonly rows: Buffer;
}

type Value = ValueOf[Kind];
const WORD_BYTES = 8;

/** Writes rows one after another. */
export function encodeEvidence<T extends EvidenceTable>(table: T, rows: readonly EvidenceRow<T>[]): EvidenceRows {
  const columns = Object.entries<Kind>(EVIDENCE_COLUMNS[table]);
  const parts = rows.map((row) => encodeRow(columns, row));
  return { table, rowCount: rows.length, rows: Buffer.concat(parts) };
}

/**
 * Reads rows back, to the very end.
 * @throws RangeError where the last one is cut off
 */
export function* readEvidence<T extends EvidenceTable>(table: T, rows: Buffer): Generator<EvidenceRow<T>> {
  const columns = Object.entries<Kind>(EVIDENCE_COLUMNS[table]);
  const reader = new RowReader(rows);
  while (reader.offset < rows.length) {
    const row: EvidenceRow<T> = Object.fromEntries(columns.map(([name, kind]): unknown[] => [name, reader[kind]()]));
    yield row;
  }
}

function encodeRow(columns: readonly [string, Kind][], row: Readonly<Record<string, Value>>): Buffer {
  const values = columns.map(([name]) => row[name]);
  const bytes = Buffer.allocUnsafe(values.reduce<number>((sum, value) => sum + bytesMaxOf(value), 0));
  let at = 0;
  for (const value of values) at = writeValue(bytes, value, at);
  return bytes.subarray(0, at);
}

function bytesMaxOf(value: Value | undefined): number {
  if (typeof value === 'string') return Buffer.byteLength(value) + WORD_BYTES;
  if (typeof value === 'object') return value.reduce((sum, text) => sum + bytesMaxOf(text), WORD_BYTES);
  return WORD_BYTES;
}

/** @returns where it ends */
function writeValue(bytes: Buffer, value: Value | undefined, at: number): number {
  if (value === undefined) throw new Error('a row lacks a column');
  if (typeof value === 'bigint') return bytes.writeBigUInt64LE(value, at);
  if (typeof value === 'number') return bytes.writeUInt8(value, at);
  if (typeof value === 'string') {
    const start = writeLength(bytes, Buffer.byteLength(value), at);
    return start + bytes.write(value, start);
  }
  return value.reduce((end, text) => writeValue(bytes, text, end), writeLength(bytes, value.length, at));
}

function writeLength(bytes: Buffer, length: number, start: number): number {
  let at = start;
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
  bytes[at++] = rest;
  return at;
}

/** Has a method for each kind of value. */
class RowReader {
  readonly #bytes: Buffer;
  offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  word(): bigint {
    const value = this.#bytes.readBigUInt64LE(this.offset);
    this.offset += WORD_BYTES;
    return value;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.offset++);
  }

  text(): string {
    const length = this.#length();
    const start = this.offset;
    this.offset += length;
    if (this.offset > this.#bytes.length) throw new RangeError(`a text of ${length} bytes is cut off`);
    return this.#bytes.toString('utf8', start, this.offset);
  }

  texts(): string[] {
    const count = this.#length();
    const texts: string[] = [];
    while (texts.length < count) texts.push(this.text());
    return texts;
  }

  #length(): number {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) return length >>> 0;
      if (shift > 28) throw new RangeError('a length has more than five bytes');
    }
  }
}
