import xxhash from 'xxhash-wasm';
import type { Provenance, Window } from './window.ts';

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
const PRECEDENCE_MAX = 9_223_372_036_854_775_807n;
/** Twelve 8-byte values between the region and the sampling time. */
const VALUES_BYTES = 12 * 8;
const STRING_LENGTH_BYTES_MAX = 5;

const hasher = await xxhash();

/** What a row starts with: the window's key and the hash of its values. */
export interface RowKey {
  readonly key: string;
  readonly valueHash: bigint;
}

/** The window's key as one string. Ids hold no control characters, so no two keys join to the same text. */
export function windowKey(customerId: string, vmId: string, startNanos: bigint, endNanos: bigint): string {
  return `${customerId}\0${vmId}\0${startNanos}\0${endNanos}`;
}

/** Encodes one window; the row's hash covers the region and the measured values, nothing else. */
export function encodeRow(window: Window, provenance: Provenance): { row: Buffer; valueHash: bigint } {
  const writer = new RowWriter(rowBytesMax(window, provenance));
  writer.string(window.customerId);
  writer.string(window.vmId);
  writer.int64(window.startNanos);
  writer.int64(window.endNanos);
  const hashAt = writer.skip(8);
  const valuesFrom = writer.offset;
  writer.string(window.region);
  writer.uint64(window.cpuTimeNanos);
  writer.float64(window.cpuUtilizationPct);
  writer.float64(window.cpuCoresUsed);
  writer.uint64(window.memoryBytesUsed);
  writer.uint64(window.memoryBytesPeak);
  writer.uint64(window.memoryByteSeconds);
  writer.uint64(window.diskReadBytes);
  writer.uint64(window.diskWriteBytes);
  writer.uint64(window.diskReadOps);
  writer.uint64(window.diskWriteOps);
  writer.uint64(window.networkRxBytes);
  writer.uint64(window.networkTxBytes);
  const valueHash = hasher.h64Raw(writer.bytes.subarray(valuesFrom, writer.offset));
  writer.bytes.writeBigUInt64LE(valueHash, hashAt);
  writer.int64(window.sampledAtNanos);
  writer.string(window.bootId);
  writer.string(provenance.instanceId);
  writer.uint64(provenance.sequence);
  writer.string(provenance.credentialId);
  writer.uint64(PRECEDENCE_MAX - provenance.receivedAtNanos);
  return { row: writer.bytes.subarray(0, writer.offset), valueHash };
}

/** The keys and value hashes of rows that `encodeRow` wrote, one after another. */
export function* rowKeys(rows: Buffer): Generator<RowKey> {
  const reader = new RowReader(rows);
  while (reader.offset < rows.length) {
    const customerId = reader.string();
    const vmId = reader.string();
    const key = windowKey(customerId, vmId, reader.int64(), reader.int64());
    const valueHash = reader.uint64();
    reader.skipString();
    reader.offset += VALUES_BYTES + 8;
    reader.skipString();
    reader.skipString();
    reader.offset += 8;
    reader.skipString();
    reader.offset += 8;
    yield { key, valueHash };
  }
}

function rowBytesMax(window: Window, provenance: Provenance): number {
  const strings = [
    window.customerId,
    window.vmId,
    window.region,
    window.bootId,
    provenance.instanceId,
    provenance.credentialId,
  ];
  let bytes = ROW_COLUMNS.length * 8;
  for (const text of strings) bytes += Buffer.byteLength(text) + STRING_LENGTH_BYTES_MAX;
  return bytes;
}

class RowWriter {
  readonly bytes: Buffer;
  offset = 0;

  constructor(bytesMax: number) {
    this.bytes = Buffer.allocUnsafe(bytesMax);
  }

  string(value: string): void {
    let length = Buffer.byteLength(value);
    while (length >= 0x80) {
      this.bytes[this.offset++] = (length & 0x7f) | 0x80;
      length >>>= 7;
    }
    this.bytes[this.offset++] = length;
    this.offset += this.bytes.write(value, this.offset);
  }

  int64(value: bigint): void {
    this.offset = this.bytes.writeBigInt64LE(value, this.offset);
  }

  uint64(value: bigint): void {
    this.offset = this.bytes.writeBigUInt64LE(value, this.offset);
  }

  float64(value: number): void {
    this.offset = this.bytes.writeDoubleLE(value, this.offset);
  }

  /** Leaves room and tells where it is. */
  skip(bytes: number): number {
    const at = this.offset;
    this.offset += bytes;
    return at;
  }
}

class RowReader {
  readonly bytes: Buffer;
  offset = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  string(): string {
    const length = this.#length();
    const from = this.offset;
    this.offset += length;
    return this.bytes.toString('utf8', from, this.offset);
  }

  skipString(): void {
    const length = this.#length();
    this.offset += length;
  }

  int64(): bigint {
    const value = this.bytes.readBigInt64LE(this.offset);
    this.offset += 8;
    return value;
  }

  uint64(): bigint {
    const value = this.bytes.readBigUInt64LE(this.offset);
    this.offset += 8;
    return value;
  }

  #length(): number {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes.readUInt8(this.offset++);
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) return length;
    }
  }
}
