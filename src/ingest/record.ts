import type { EvidenceRows, EvidenceTable } from './evidence-rows.ts';
import { blockParts, readBlock, type WindowBlock } from './window-block.ts';

/**
 * What one spool record holds: which hours its contents touch, windows column by column, and rows of other tables. The
 * touched hours ride along so that draining needs no look into the rest.
 *
 * | bytes | content |
 * | --- | --- |
 * | 1 | version, 2 |
 * | 3 | zero |
 * | 4 | length of the head, little-endian |
 * | head | JSON: `{"rows": count, "touched": [[customer, hour in Unix seconds], …]}`, with `"evidence": [[table, count, bytes], …]` where there is more than windows |
 * | rest | windows, as `window-block.ts` says; then the other tables' rows in the head's order, as `evidence-rows.ts` does |
 */
export interface SpoolRecord {
  /** Of windows. */
  readonly rowCount: number;
  /** Pairs of customer and hour (Unix seconds). */
  readonly touched: readonly (readonly [string, number])[];
  readonly rows: Buffer;
  readonly evidence: readonly EvidenceRows[];
}

interface Head {
  readonly rows: number;
  readonly touched: [string, number][];
  readonly evidence?: [EvidenceTable, number, number][];
}

const VERSION = 2;
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
export function encodeRecord(
  windows: WindowBlock,
  touched: TouchedHours,
  evidence: readonly EvidenceRows[] = [],
): Buffer[] {
  const list = evidence.map((each): [EvidenceTable, number, number] => [each.table, each.rowCount, each.rows.length]);
  const head: Head = {
    rows: windows.count,
    touched: touched.pairs(),
    ...(list.length === 0 ? {} : { evidence: list }),
  };
  return [...encodeHead(head), ...blockParts(windows), ...evidence.map((each) => each.rows)];
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
  const head: Head = JSON.parse(bytes.toString('utf8', PREFIX_BYTES, rowsFrom));
  const list = head.evidence ?? [];
  const rowsEnd = list.reduce((end, [, , length]) => end - length, bytes.length);
  let at = rowsEnd;
  const evidence = list.map(([table, rowCount, length]): EvidenceRows => {
    const rows = bytes.subarray(at, at + length);
    at += length;
    return { table, rowCount, rows };
  });
  return { rowCount: head.rows, touched: head.touched, rows: bytes.subarray(rowsFrom, rowsEnd), evidence };
}

/** Rows of all tables together. */
export function rowsOf(record: SpoolRecord): number {
  return record.evidence.reduce((sum, each) => sum + each.rowCount, record.rowCount);
}

function encodeHead(head: Head): [Buffer, Buffer] {
  const json = Buffer.from(JSON.stringify(head));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt8(VERSION, 0);
  prefix.writeUInt32LE(json.length, 4);
  return [prefix, json];
}

/** A record's windows. @throws BrokenBlock where their bytes are not as many as they say */
export function windowsOf({ rows, rowCount }: SpoolRecord): WindowBlock {
  return readBlock(rows, rowCount);
}
