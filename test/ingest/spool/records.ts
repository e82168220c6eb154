import type { Spool } from '../../../src/ingest/spool/spool.ts';

/** A record that tells its id and can be checked to the last byte. */
export function recordOf(id: number, bytes: number): Buffer {
  const record = Buffer.alloc(Math.max(4, bytes));
  for (let at = 4; at < record.length; at++) record[at] = (id * 31 + at * 7) & 0xff;
  record.writeUInt32LE(id, 0);
  return record;
}

/** The id of a record. @throws Error where a byte of it is not what was appended */
export function idOf(record: Uint8Array): number {
  const bytes = Buffer.from(record);
  const id = bytes.readUInt32LE(0);
  if (!bytes.equals(recordOf(id, bytes.length))) throw new Error(`record ${id} of ${bytes.length} bytes is wrong`);
  return id;
}

/** Reads and marks everything. */
export async function drainIds(spool: Spool, bytesMax = 1024): Promise<number[]> {
  const ids: number[] = [];
  for (let batch = await spool.read(bytesMax); batch !== undefined; batch = await spool.read(bytesMax)) {
    ids.push(...batch.payloads.map(idOf));
    await spool.markApplied(batch.end);
  }
  return ids;
}
