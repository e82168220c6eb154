/**
 * What one spool record holds: which hours its windows touch, and the windows as ClickHouse rows. The touched hours ride
 * along so that draining needs no look into the rows.
 *
 * | bytes | content |
 * | --- | --- |
 * | 1 | version, 1 |
 * | 3 | zero |
 * | 4 | length of the head, little-endian |
 * | head | JSON: `{"rows": count, "touched": [[customer, hour in Unix seconds], …]}` |
 * | rest | rows, as `row-binary.ts` writes them |
 */
export interface SpoolRecord {
  readonly rowCount: number;
  /** Pairs of customer and hour (Unix seconds). */
  readonly touched: readonly (readonly [string, number])[];
  readonly rows: Buffer;
}

const VERSION = 1;
const PREFIX_BYTES = 8;

/** The hours that windows reach into, per customer, each pair once. */
export class TouchedHours {
  readonly #hours = new Map<string, Set<number>>();

  /** @param hour in Unix seconds */
  add(customerId: string, hour: number): void {
    const hours = this.#hours.get(customerId);
    if (hours === undefined) this.#hours.set(customerId, new Set([hour]));
    else hours.add(hour);
  }

  addAll(touched: SpoolRecord['touched']): void {
    for (const [customerId, hour] of touched) this.add(customerId, hour);
  }

  pairs(): [string, number][] {
    return [...this.#hours].flatMap(([customerId, hours]) =>
      [...hours].map((hour): [string, number] => [customerId, hour]),
    );
  }
}

/** The record's parts, for the spool to write one after another. */
export function encodeRecord(rows: Buffer, rowCount: number, touched: TouchedHours): Buffer[] {
  const head = Buffer.from(JSON.stringify({ rows: rowCount, touched: touched.pairs() }));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt8(VERSION, 0);
  prefix.writeUInt32LE(head.length, 4);
  return [prefix, head, rows];
}

/** @throws Error where the record was written by another version of meterd */
export function decodeRecord(payload: Uint8Array): SpoolRecord {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const version = bytes.readUInt8(0);
  if (version !== VERSION) {
    throw new Error(
      `spool record of version ${version}: this meterd reads version ${VERSION}; drain it with the meterd that wrote it`,
    );
  }
  const rowsFrom = PREFIX_BYTES + bytes.readUInt32LE(4);
  const head: { rows: number; touched: [string, number][] } = JSON.parse(
    bytes.toString('utf8', PREFIX_BYTES, rowsFrom),
  );
  return { rowCount: head.rows, touched: head.touched, rows: bytes.subarray(rowsFrom) };
}
