import { sql } from 'kysely';
import type { BillingStore } from '../store.ts';
import { noteDuePeriods } from './open-periods.ts';

/** The start of the earliest period that is over and not settled, of anybody: usage from then on is still to be billed. */
export async function earliestUnsettled(store: BillingStore, signal: AbortSignal): Promise<Date | undefined> {
  await noteDuePeriods(store, signal);
  const { rows } = await sql<{ start: Date | null }>`
    SELECT min(period_start) AS start FROM billing_periods WHERE NOT settled`.execute(store.db);
  return rows[0]?.start ?? undefined;
}
