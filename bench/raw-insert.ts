import { Readable } from 'node:stream';
import type { ClickHouseClient } from '@clickhouse/client';
import type { FleetSpec } from './generator/fleet.ts';
import { Generator } from './generator/generator.ts';
import { fillRows, ROW_COLUMNS } from './generator/row-template.ts';

/** What the service's own writer sends at once. */
const BLOCK_BYTES = 16 * 1024 * 1024;

/** As the service's own writer has them: with more work for ClickHouse it would be no ceiling. */
const INSERT_SETTINGS = {
  async_insert: 0,
  insert_deduplicate: 0,
  optimize_on_insert: 0,
  max_partitions_per_insert_block: '0',
} as const;

/** Inserts one block of `RowBinary` as fast as the client can. */
export async function insertBlock(clickhouse: ClickHouseClient, block: Buffer): Promise<void> {
  const answer = await clickhouse.exec({
    query: `INSERT INTO windows (${ROW_COLUMNS.join(', ')}) FORMAT RowBinary`,
    values: Readable.from([block], { objectMode: false }),
    clickhouse_settings: INSERT_SETTINGS,
  });
  for await (const chunk of answer.stream) void chunk;
}

/**
 * Inserts a fleet's windows as blocks for a time, so many blocks beside each other.
 * @returns rows, and rows a second from the first byte to the last answer
 */
export async function rawInserts(
  clickhouse: ClickHouseClient,
  spec: FleetSpec,
  { forMs, lanes }: { readonly forMs: number; readonly lanes: number },
): Promise<{ rows: number; perSecond: number }> {
  const generator = Generator.ofRows(spec);
  generator.warm();
  let job = 0;
  let rows = 0;
  const startedMs = performance.now();
  const lane = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafe(BLOCK_BYTES);
    while (performance.now() - startedMs < forMs) {
      let bytes = 0;
      for (;;) {
        const next = generator.job(job);
        const template = generator.template(next);
        if (bytes + template.bytes.length > buffer.length) break;
        bytes += fillRows(template, buffer.subarray(bytes), next).length;
        rows += template.windows;
        job++;
      }
      await insertBlock(clickhouse, buffer.subarray(0, bytes));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return { rows, perSecond: (rows * 1000) / (performance.now() - startedMs) };
}
