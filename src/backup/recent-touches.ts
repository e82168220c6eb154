import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';

/** How long before the backup something may have been received that was just being stored when it was made. */
const RECENT_MS = 86_400_000;
const NANOS_PER_MS = 1_000_000n;
const LATEST_NANOS = 2n ** 63n - 1n;

/**
 * Has the hours computed anew of whatever was received in the day before the backup: windows are stored before the hours that
 * they touch are noted, and a backup may have come in between. What a window or a reading touches is what `ingest` says.
 * @throws what ClickHouse reports
 */
export async function touchRecent(clickhouse: ClickHouseClient, takenAt: Date): Promise<void> {
  const sinceNanos = BigInt(takenAt.getTime() - RECENT_MS) * NANOS_PER_MS;
  await clickhouse.command({
    query: `INSERT INTO touched_hours (drain_id, customer_id, hour)
      SELECT {drain:UUID}, customer_id, hour FROM (
        SELECT customer_id, toStartOfHour(arrayJoin([window_start, window_end - toIntervalNanosecond(1)])) AS hour
          FROM windows WHERE precedence <= {precedence:UInt64}
        UNION DISTINCT
        SELECT customer_id, toStartOfHour(sampled_at) + toIntervalHour(arrayJoin([-1, 0, 1, 2]))
          FROM counter_samples WHERE precedence <= {precedence:UInt64}
        UNION DISTINCT
        SELECT customer_id, toStartOfHour(arrayJoin([at, until])) + toIntervalHour(arrayJoin([-1, 0, 1, 2]))
          FROM vm_events WHERE precedence <= {precedence:UInt64}
      )`,
    query_params: { drain: randomUUID(), precedence: (LATEST_NANOS - sinceNanos).toString() },
  });
}
