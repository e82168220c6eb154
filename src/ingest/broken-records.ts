import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { messageOf } from '../lib/failure.ts';
import type { SpoolRecord } from './record.ts';
import { RowScan } from './row-scan.ts';
import { realDisk, type SpoolDisk, writeFully } from './spool/disk.ts';

/** A row of empty texts and zeros: all its bytes are zero. */
const EMPTY_ROW_BYTES = 150;
/** Broken records are a defect of ours: one or two may be set aside so that all others pass, but not just any number. */
const RECORDS_MAX = 64;

/**
 * Whether a record's rows cannot be read, as many as it says and to their very end. ClickHouse takes whatever can: no
 * value of a whole row is refused (`clickhouse-writer.ch.test.ts` tries the extremes). So a refusal of whole records is
 * never the records' fault, and they wait in the spool.
 */
export function isBroken({ rows, rowCount }: SpoolRecord): boolean {
  // An empty row behind them is read as one only where the last of them ended where it should.
  const scan = new RowScan(Buffer.concat([rows, Buffer.alloc(EMPTY_ROW_BYTES)]));
  let found = 0;
  try {
    while (scan.next()) found++;
  } catch {
    return true;
  }
  return found !== rowCount + 1 || scan.rowStart !== rows.length;
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
  async keep({ rows, rowCount, touched }: SpoolRecord, reason: unknown): Promise<string> {
    const name = `rows-${createHash('sha256').update(rows).digest('hex').slice(0, 16)}`;
    await this.#disk.makeFolder(this.#folder);
    const names = new Set(await this.#disk.list(this.#folder));
    // Written last: with it, the rows are whole.
    const about = `${name}.json`;
    if (!names.has(about)) {
      if (names.size >= 2 * RECORDS_MAX) throw new Error(`${this.#folder} has ${RECORDS_MAX} broken records already`);
      await this.#write(name, rows);
      await this.#write(about, Buffer.from(JSON.stringify({ reason: messageOf(reason), rows: rowCount, touched })));
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
