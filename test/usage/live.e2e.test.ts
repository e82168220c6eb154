import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { KeyRole } from '../../gen/billing/v1/keys_pb.ts';
import { BillingQueryService, type UsageUpdate } from '../../gen/billing/v1/query_pb.ts';
import { stopMeterd } from '../../demo/meterd-process.ts';
import { aWindow } from '../ingest/a-window.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

const meterd = await meterdForTest();
const collector = clientOf(BillingCollectorService, meterd.url, await keyFor(meterd));
const customerKey = await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: ['acme'] });
const queries = clientOf(BillingQueryService, meterd.url, customerKey);

const minuteMs = Math.floor(Date.now() / 60_000) * 60_000 - 3_600_000;
let sent = 0;

async function send(customerId: string, vmId: string): Promise<void> {
  const startMs = minuteMs + 60_000 * sent++;
  const windowStart = timestampFromMs(startMs);
  const windowEnd = timestampFromMs(startMs + 60_000);
  const metrics = [aWindow({ customerId, vmId, windowStart, windowEnd, timestamp: windowEnd })];
  expect(await collector.sendMetricsBatch({ metrics })).toMatchObject({ accepted: 1 });
}

/** The next update that holds usage. */
async function nextUsage(updates: AsyncIterator<UsageUpdate>): Promise<UsageUpdate> {
  for (;;) {
    const { value, done } = await updates.next();
    if (done === true) throw new Error('the stream ended');
    if (value.usage.length > 0) return value;
  }
}

it('shows a window within a second of its ack, goes on behind a resume token, and ends with meterd', async () => {
  const leave = new AbortController();
  const first = queries.streamLiveUsage({}, { signal: leave.signal })[Symbol.asyncIterator]();
  // The first update comes at once: from here on the stream is open.
  const opened: UsageUpdate = (await first.next()).value;
  expect(opened).toMatchObject({ customerId: 'acme', usage: [], reset: false });

  await send('other', 'vm-of-another');
  await send('acme', 'vm-1');
  const ackedMs = performance.now();
  const update = await nextUsage(first);
  expect(performance.now() - ackedMs).toBeLessThan(1000);
  expect(update.usage).toMatchObject([
    { vmId: 'vm-1', region: 'us-east1', quantities: { windows: 1n, cpuTimeNanos: '60000000000' } },
  ]);
  leave.abort();

  // What is sent while nobody listens is in the stream that goes on behind the token.
  await send('acme', 'vm-2');
  const second = queries.streamLiveUsage({ resumeToken: update.resumeToken })[Symbol.asyncIterator]();
  const missed = await nextUsage(second);
  expect(missed.reset).toBe(false);
  expect(missed.usage.map((usage) => usage.vmId)).toEqual(['vm-2']);

  const stranger = queries.streamLiveUsage({ resumeToken: `${crypto.randomUUID()}.1` })[Symbol.asyncIterator]();
  expect((await stranger.next()).value).toMatchObject({ reset: true });

  const ended = expect(nextUsage(second)).rejects.toThrow(/meterd stops/);
  const stoppingMs = performance.now();
  expect(await stopMeterd(meterd)).toBe(0);
  expect(performance.now() - stoppingMs).toBeLessThan(10_000);
  await ended;
});
