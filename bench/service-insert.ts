import { encodeRecord, TouchedHours } from '../src/ingest/record.ts';
import { type Drainable, DrainPass } from '../src/ingest/drain-pass.ts';
import { DRAIN_SIZES } from '../src/ingest/drain-pace.ts';
import { storePass } from '../src/ingest/store-pass.ts';
import type { ClickHouseClient } from '@clickhouse/client';
import type { FleetSpec } from './generator/fleet.ts';
import { Generator } from './generator/generator.ts';
import { readRequest } from './generator/read-request.ts';
import { fillRequest } from './generator/request-template.ts';

const REQUEST_BYTES_MAX = 1024 * 1024;
const RECORDS_AT_ONCE = 16;

/** Inserts a fleet's windows for a time as the service's own writer does, from a spool that never ends. @returns rows */
export async function serviceInserts(clickhouse: ClickHouseClient, spec: FleetSpec, forMs: number): Promise<number> {
  const spool = endlessSpool(spec);
  const untilMs = performance.now() + forMs;
  let rows = 0;
  while (performance.now() < untilMs) {
    const pass = new DrainPass(spool, { ...DRAIN_SIZES, bytesMax: DRAIN_SIZES.insertBytesMax }, new Map());
    await storePass(clickhouse, pass, AbortSignal.timeout(600_000));
    if (pass.failure !== undefined) throw pass.failure.reason;
    rows += pass.rows;
  }
  return rows;
}

function endlessSpool(spec: FleetSpec): Drainable<number> {
  const generator = Generator.ofRequests(spec);
  generator.warm();
  const buffer = Buffer.allocUnsafe(REQUEST_BYTES_MAX);
  let number = 0;
  const record = (): Buffer => {
    const job = generator.job(number++);
    const rows = readRequest(fillRequest(generator.template(job), buffer, { ...job, job: job.number }));
    const payload = Buffer.concat(encodeRecord(rows.block(), new TouchedHours()));
    rows.release();
    return payload;
  };
  return {
    read: async () => ({ payloads: Array.from({ length: RECORDS_AT_ONCE }, record), records: [], end: number }),
    waitForRecords: async () => undefined,
    markApplied: async () => undefined,
    stats: () => ({ lastRecord: 1, appliedRecord: 0, unappliedRecords: 1, unappliedBytes: 1 }),
  };
}
