/**
 * One window as ClickHouse's `RowBinary`: the columns below one after another, integers little-endian, strings with a
 * LEB128 length before them (https://clickhouse.com/docs/interfaces/formats/RowBinary). The spool keeps these bytes, so
 * draining it copies them. Changing the order changes what lies in every spool: it needs a new record version.
 */
export const ROW_COLUMNS = [
  'customer_id',
  'vm_id',
  'window_start',
  'window_end',
  'value_hash',
  'region',
  'cpu_time_nanos',
  'cpu_utilization_pct',
  'cpu_cores_used',
  'memory_bytes_used',
  'memory_bytes_peak',
  'memory_byte_seconds',
  'disk_read_bytes',
  'disk_write_bytes',
  'disk_read_ops',
  'disk_write_ops',
  'network_rx_bytes',
  'network_tx_bytes',
  'sampled_at',
  'boot_id',
  'instance_id',
  'sequence',
  'credential_id',
  'precedence',
] as const;

/** `precedence` counts down from here, so that of equal copies the first received has the greatest. */
export const PRECEDENCE_MAX = 9_223_372_036_854_775_807n;

/** A row read back, as far as it is needed. Times are Unix nanoseconds. */
export interface Row {
  readonly customerId: string;
  readonly vmId: string;
  readonly region: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  readonly cpuTimeNanos: bigint;
  readonly memoryByteSeconds: bigint;
  readonly diskReadBytes: bigint;
  readonly diskWriteBytes: bigint;
  readonly diskReadOps: bigint;
  readonly diskWriteOps: bigint;
  readonly networkRxBytes: bigint;
  readonly networkTxBytes: bigint;
}

/** Reads back rows that lie one after another, but for those that start at one of `left`. */
export function* readRows(rows: Buffer, left?: ReadonlySet<number>): Generator<Row> {
  const reader = new Reader(rows);
  while (reader.offset < rows.length) {
    const isLeft = left?.has(reader.offset) === true;
    const [customerId, vmId] = [reader.string(), reader.string()];
    const [startNanos, endNanos] = [reader.int64(), reader.int64()];
    reader.offset += 8;
    const region = reader.string();
    const values = reader.offset;
    reader.skipTail(values);
    if (isLeft) continue;
    const value = (column: (typeof ROW_COLUMNS)[number]): bigint => {
      return rows.readBigUInt64LE(values + 8 * (ROW_COLUMNS.indexOf(column) - FIRST_VALUE));
    };
    yield {
      customerId,
      vmId,
      region,
      startNanos,
      endNanos,
      cpuTimeNanos: value('cpu_time_nanos'),
      memoryByteSeconds: value('memory_byte_seconds'),
      diskReadBytes: value('disk_read_bytes'),
      diskWriteBytes: value('disk_write_bytes'),
      diskReadOps: value('disk_read_ops'),
      diskWriteOps: value('disk_write_ops'),
      networkRxBytes: value('network_rx_bytes'),
      networkTxBytes: value('network_tx_bytes'),
    };
  }
}

const FIRST_VALUE = ROW_COLUMNS.indexOf('cpu_time_nanos');
const VALUES_AND_SAMPLED_BYTES = 8 * (ROW_COLUMNS.indexOf('boot_id') - FIRST_VALUE);

class Reader {
  readonly #bytes: Buffer;
  offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  string(): string {
    const length = this.#length();
    const from = this.offset;
    this.offset += length;
    return this.#bytes.toString('utf8', from, this.offset);
  }

  int64(): bigint {
    const value = this.#bytes.readBigInt64LE(this.offset);
    this.offset += 8;
    return value;
  }

  /** Past the columns from the first value to the end of the row. */
  skipTail(values: number): void {
    this.offset = values + VALUES_AND_SAMPLED_BYTES;
    this.#skipString();
    this.#skipString();
    this.offset += 8;
    this.#skipString();
    this.offset += 8;
  }

  #skipString(): void {
    const length = this.#length();
    this.offset += length;
  }

  #length(): number {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes.readUInt8(this.offset++);
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) return length;
    }
  }
}
