import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { messageOf } from '../lib/failure.ts';
import { type EvidenceRows, readEvidence } from './evidence-rows.ts';
import { scanCall } from './native-block.ts';
import { rowsOf, type SpoolRecord, windowsOf } from './record.ts';
import { realDisk, type SpoolDisk, writeFully } from './spool/disk.ts';
import { TextScan } from './window-block.ts';

/** Broken records are a defect of ours: one or two may be set aside so that all others pass, but not just any number. */
const RECORDS_MAX = 64;

/**
 * Whether a record's windows cannot be read, as many as it says and to their very end. ClickHouse takes whatever can: no
 * value of a whole window is refused (`clickhouse-writer.ch.test.ts` tries the extremes). So a refusal of whole records is
 * never the records' fault, and they wait in the spool.
 */
export function isBroken(record: SpoolRecord): boolean {
  return areBrokenWindows(record) || record.evidence.some(isBrokenEvidence);
}

function areBrokenWindows(record: SpoolRecord): boolean {
  try {
    const { texts, call, count } = windowsOf(record);
    const scans = texts.map((bytes) => new TextScan(bytes));
    for (let row = 0; row < count; row++) for (const scan of scans) scan.next();
    // Without a window there is nothing that would hold for all of them.
    scans.push(count === 0 ? new TextScan(call) : scanCall(call));
    return !scans.every((scan) => scan.isAtEnd);
  } catch {
    return true;
  }
}

function isBrokenEvidence({ table, rows, rowCount }: EvidenceRows): boolean {
  try {
    return [...readEvidence(table, rows)].length !== rowCount;
  } catch {
    return true;
  }
}

/** Keeps broken records for a person to look at: a file of a record's rows, and one beside it that says what is known of it. */
export class BrokenRecords {
  readonly #folder: string;
  readonly #disk: SpoolDisk;

  constructor(folder: string, disk: SpoolDisk = realDisk) {
    this.#folder = folder;
    this.#disk = disk;
  }

  /**
   * Returns once the record is on disk. The same record twice is one file.
   * @param reason what ClickHouse said to it
   * @returns the file of its rows
   * @throws Error where there are too many already; the error of the disk
   */
  async keep(record: SpoolRecord, reason: unknown): Promise<string> {
    const rows = Buffer.concat([record.rows, ...record.evidence.map((each) => each.rows)]);
    const name = `rows-${createHash('sha256').update(rows).digest('hex').slice(0, 16)}`;
    await this.#disk.makeFolder(this.#folder);
    const names = new Set(await this.#disk.list(this.#folder));
    // Written last: with it, the rows are whole.
    const about = `${name}.json`;
    if (!names.has(about)) {
      if (names.size >= 2 * RECORDS_MAX) throw new Error(`${this.#folder} has ${RECORDS_MAX} broken records already`);
      await this.#write(name, rows);
      await this.#write(about, Buffer.from(JSON.stringify(describe(record, reason))));
      await this.#disk.syncFolder(this.#folder);
    }
    return join(this.#folder, name);
  }

  async #write(name: string, bytes: Uint8Array): Promise<void> {
    const file = await this.#disk.open(join(this.#folder, name), 'create');
    try {
      await writeFully(file, bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** What is known of a record's rows: all of them, and how many bytes at their end are of other tables than `windows`. */
function describe(record: SpoolRecord, reason: unknown): object {
  const evidence = record.evidence.map((each) => ({ table: each.table, rows: each.rowCount, bytes: each.rows.length }));
  const about = { reason: messageOf(reason), rows: rowsOf(record), touched: record.touched };
  return evidence.length === 0 ? about : { ...about, evidence };
}
