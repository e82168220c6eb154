import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { BillingQueryService } from '../../gen/billing/v1/query_pb.ts';
import { newClickHouseUrl } from '../database.ts';
import { aWindow } from '../ingest/a-window.ts';
import { startProxy } from '../ingest/clickhouse-proxy.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

const HOUR_MS = 3_600_000;
const NEVER = '0 0 29 2 *';
const STORING = /^INSERT INTO (windows|touched_hours)\b/;
const JOBS_SECONDS = '595';
const CALLERS_SECONDS = '55';

const seconds = new Map<string, string | null>();
const proxy = await startProxy({
  url: newClickHouseUrl(),
  treat: ({ query, parameters }) => {
    seconds.set(query, parameters.get('max_execution_time'));
    return 'pass';
  },
});
// Called behind what is called for meterd, which may have windows to store: the last one that is told of is the first.
afterAll(proxy.close);
const meterd = await meterdForTest({
  CLICKHOUSE_URL: proxy.url,
  METERD_ROLLUP_SCHEDULE: NEVER,
  METERD_INVOICE_SCHEDULE: NEVER,
});

it('gives the statements of jobs ten minutes, and those that somebody waits for one', async () => {
  /** Of all statements but those that store windows, which may be sent at any time. */
  const during = async (work: () => Promise<unknown>): Promise<Set<string | null>> => {
    seconds.clear();
    await work();
    const others = [...seconds].filter(([query]) => !STORING.test(query));
    return new Set(others.map(([, each]) => each));
  };
  const startMs = Math.floor(Date.now() / HOUR_MS - 2) * HOUR_MS;
  const [windowStart, windowEnd] = [timestampFromMs(startMs), timestampFromMs(startMs + 60_000)];
  const collector = clientOf(BillingCollectorService, meterd.url, await keyFor(meterd));
  await collector.sendMetricsBatch({ metrics: [aWindow({ windowStart, windowEnd, timestamp: windowEnd })] });
  const jobs = clientOf(JobService, meterd.url, meterd.adminKey);
  expect(await during(() => jobs.runJob({ job: 'rollup' }))).toEqual(new Set([JOBS_SECONDS]));
  const asked = { customerId: 'acme', start: windowStart, end: timestampFromMs(startMs + HOUR_MS) };
  const queries = clientOf(BillingQueryService, meterd.url, meterd.adminKey);
  expect(await during(() => queries.getCustomerUsage(asked))).toEqual(new Set([CALLERS_SECONDS]));
});
