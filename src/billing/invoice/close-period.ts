import { messageOf } from '../../lib/failure.ts';
import { parsePeriod } from '../period.ts';
import type { Closed } from './close-batch.ts';
import { type BatchOutcome, beginBatch, closeRows, type CustomerFailure } from './close-rows.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { isRunningForSome, noteDuePeriods, openPage } from './open-periods.ts';

/** What one run over a period did. Customers whose invoice was final before are not counted. */
export interface PeriodOutcome {
  readonly period: string;
  /** Customers whose invoice is final since this run. */
  readonly finals: number;
  readonly drafts: number;
  /** Customers without anything to bill. */
  readonly empty: number;
  readonly failed: number;
  /** Nothing is left to do for this period; `openPeriods` names it no longer. */
  readonly closed: boolean;
}

/** Some customers' invoices could not be made; those of all others were. `errors` has the first ones. */
export class InvoicesFailed extends AggregateError {
  readonly outcome: PeriodOutcome;

  constructor(outcome: PeriodOutcome, failures: readonly CustomerFailure[]) {
    const named = failures.map(({ customerId, reason }) => `"${customerId}": ${messageOf(reason)}`);
    const rest = outcome.failed - failures.length;
    const more = rest > 0 ? `; and ${rest} more` : '';
    super(
      failures.map((failure) => failure.reason),
      `invoices of ${outcome.period}: ${outcome.failed} failed: ${named.join('; ')}${more}`,
    );
    this.name = 'InvoicesFailed';
    this.outcome = outcome;
  }
}

const PAGE_ROWS = 500;
/** How many failures are told of one by one; the others are counted. */
const FAILURES_NAMED_MAX = 20;

/**
 * Closes a period for every customer that had a plan or a manual line by its end. May be run again, and by several processes
 * at once; killed anywhere, the next run goes on with what is not settled. Those whose period is not over yet wait.
 * @param name e.g. "2026-09"
 * @throws CallerFault invalid_argument where it is no month, failed_precondition where it is over for nobody; InvoicesFailed
 *   once every customer was tried; the signal's reason
 */
export async function closePeriod(store: InvoicingStore, name: string, signal: AbortSignal): Promise<PeriodOutcome> {
  parsePeriod(name);
  const isRunning = await isRunningForSome(store, name);
  await noteDuePeriods(store, signal);
  const count = { finals: 0, drafts: 0, empty: 0, failed: 0 };
  const failures: CustomerFailure[] = [];
  for await (const { closed, failures: more } of closePages(store, name, signal)) {
    for (const { outcome } of closed) {
      const counter = COUNTERS[outcome];
      if (counter !== undefined) count[counter]++;
    }
    count.failed += more.length;
    failures.push(...more.slice(0, FAILURES_NAMED_MAX - failures.length));
  }
  if (count.failed > 0) throw new InvoicesFailed({ period: name, ...count, closed: false }, failures);
  // Somebody may have got a plan behind the run's back, from before the period's end.
  await noteDuePeriods(store, signal);
  const isOpen = (await openPage(store.db, name, '', 1)).length > 0;
  return { period: name, ...count, closed: !isRunning && !isOpen };
}

const COUNTERS = {
  final: 'finals',
  draft: 'drafts',
  none: 'empty',
  before: undefined,
  elsewhere: undefined,
  changed: undefined,
} as const satisfies Record<Closed['outcome'], string | undefined>;

/** Page by page, so that memory does not grow with their number; while one page is written the next is read. */
async function* closePages(store: InvoicingStore, name: string, signal: AbortSignal): AsyncGenerator<BatchOutcome> {
  let rows = await openPage(store.db, name, '', PAGE_ROWS);
  let prepared = beginBatch(store, rows, signal);
  while (rows.length > 0) {
    signal.throwIfAborted();
    const next = await openPage(store.db, name, rows.at(-1)?.customerId ?? '', PAGE_ROWS);
    // Waits for this page's reading first: two pages in memory, never three.
    await prepared.catch(() => undefined);
    const nextPrepared = beginBatch(store, next, signal);
    yield await closeRows(store, rows, prepared, signal);
    [rows, prepared] = [next, nextPrepared];
  }
}
