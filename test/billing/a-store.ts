import { createCustomer } from '../../src/billing/customers.ts';
import type { SpanUsage, UsageRequest, UsageSpan } from '../../src/billing/invoice/invoice-input.ts';
import type { CustomerSpan, InvoicingStore, UsageReader } from '../../src/billing/invoice/invoicing-store.ts';
import type { PlanContentText } from '../../src/billing/plans/parse-content.ts';
import { publishPlanDraft, savePlanDraft } from '../../src/billing/plans/plan-drafts.ts';
import { publishPlan } from '../../src/billing/plans/publish-plan.ts';
import { subscribe } from '../../src/billing/plans/subscribe.ts';
import type { MeasuredUsage } from '../../src/billing/rating/plan-content.ts';
import type { TestPostgres } from '../database.ts';

export const ACTOR = 'key-of-the-test';
export const RATES = { cpuPerCoreHour: 0.05, memoryPerGbHour: 0.02, diskIoPerGb: 0.01, networkPerGb: 0.01 };
export const CORE_HOUR_NANOS = 3_600_000_000_000n;

/** A clock that stands until it is set. */
class StandingClock {
  #nowMs: number;

  constructor(now: string) {
    this.#nowMs = Date.parse(now);
  }

  set(now: string): void {
    this.#nowMs = Date.parse(now);
  }

  nowMs(): number {
    return this.#nowMs;
  }

  nowNanos(): bigint {
    return BigInt(this.#nowMs) * 1_000_000n;
  }
}

const NOTHING: MeasuredUsage = {
  cpuTimeNanos: 0n,
  memoryByteSeconds: 0n,
  diskReadBytes: 0n,
  diskWriteBytes: 0n,
  diskReadOps: 0n,
  diskWriteOps: 0n,
  networkRxBytes: 0n,
  networkTxBytes: 0n,
  observedNanos: 0n,
};

interface UsedHour {
  readonly customerId: string;
  readonly startNanos: bigint;
  readonly region: string;
  readonly usage: MeasuredUsage;
  /** When it was last computed. */
  readonly versionNanos: bigint;
}

/** What each customer used, hour by hour, and who waits for the rollup. */
export class GivenUsage implements UsageReader {
  readonly #hours: UsedHour[] = [];
  readonly #clock: StandingClock;
  /** Called before each customer's usage is read. */
  onRead: (customerId: string) => Promise<void> | void = () => undefined;
  /** How many times usage was read. */
  reads = 0;
  readonly pending = new Set<string>();

  constructor(clock: StandingClock) {
    this.#clock = clock;
  }

  /** One core for one hour, unless said otherwise; computed now. */
  add(customerId: string, hour: string, usage: Partial<MeasuredUsage> & { readonly region?: string } = {}): this {
    const { region = 'eu', ...measured } = usage;
    const whole = { ...NOTHING, cpuTimeNanos: CORE_HOUR_NANOS, observedNanos: CORE_HOUR_NANOS, ...measured };
    const startNanos = BigInt(Date.parse(hour)) * 1_000_000n;
    this.#hours.push({ customerId, startNanos, region, usage: whole, versionNanos: this.#clock.nowNanos() });
    return this;
  }

  remove(customerId: string): void {
    const kept = this.#hours.filter((each) => each.customerId !== customerId);
    this.#hours.splice(0, this.#hours.length, ...kept);
  }

  async readUsage(requests: readonly UsageRequest[]): Promise<SpanUsage[][][]> {
    this.reads++;
    const answers: SpanUsage[][][] = [];
    for (const { customerId, spans } of requests) {
      await this.onRead(customerId);
      answers.push(spans.map((span) => this.#regionsOf(customerId, span)));
    }
    return answers;
  }

  async recomputeUsage(request: UsageRequest) {
    const [usage = []] = await this.readUsage([request]);
    return { usage, missingFrom: undefined };
  }

  async pendingCustomers(requests: readonly CustomerSpan[]): Promise<Set<string>> {
    return new Set(requests.map(({ customerId }) => customerId).filter((id) => this.pending.has(id)));
  }

  async changedSince(requests: readonly (CustomerSpan & { readonly sinceNanos: bigint })[]): Promise<boolean[]> {
    return requests.map(({ customerId, startNanos, endNanos, sinceNanos }) => {
      return this.#inside(customerId, { startNanos, endNanos }).some((hour) => hour.versionNanos > sinceNanos);
    });
  }

  #inside(customerId: string, span: Pick<UsageSpan, 'startNanos' | 'endNanos'>): UsedHour[] {
    return this.#hours.filter((hour) => {
      const isIn = hour.startNanos >= span.startNanos && hour.startNanos < span.endNanos;
      return isIn && hour.customerId === customerId;
    });
  }

  #regionsOf(customerId: string, span: UsageSpan): SpanUsage[] {
    const byRegion = Map.groupBy(this.#inside(customerId, span), (hour) => hour.region);
    return [...byRegion]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([region, hours]) => {
        const observed = hours.map((hour) => hour.usage).reduce(sumOf, NOTHING);
        return { region, observed, estimated: NOTHING, hoursHash: String(hours.length) };
      });
  }
}

function sumOf(a: MeasuredUsage, b: MeasuredUsage): MeasuredUsage {
  return {
    cpuTimeNanos: a.cpuTimeNanos + b.cpuTimeNanos,
    memoryByteSeconds: a.memoryByteSeconds + b.memoryByteSeconds,
    diskReadBytes: a.diskReadBytes + b.diskReadBytes,
    diskWriteBytes: a.diskWriteBytes + b.diskWriteBytes,
    diskReadOps: a.diskReadOps + b.diskReadOps,
    diskWriteOps: a.diskWriteOps + b.diskWriteOps,
    networkRxBytes: a.networkRxBytes + b.networkRxBytes,
    networkTxBytes: a.networkTxBytes + b.networkTxBytes,
    observedNanos: a.observedNanos + b.observedNanos,
  };
}

export interface TestStore extends InvoicingStore {
  readonly clock: StandingClock;
  readonly usage: GivenUsage;
}

/** September 2026 is over for ten days; the grace is one day. */
export function aStore({ db }: Pick<TestPostgres, 'db'>): TestStore {
  const clock = new StandingClock('2026-10-11T00:00:00Z');
  const usage = new GivenUsage(clock);
  return { db, clock, usage, graceMs: 86_400_000, numberPrefix: 'INV-', creditNotePrefix: 'CN-' };
}

/** Registers customers who have had the plan "basic" since the start of 2026, or since an instant. */
export async function subscribeToBasic(store: TestStore, ...customerIds: string[]): Promise<void> {
  await subscribeSince(store, new Date('2026-01-01T00:00:00Z'), ...customerIds);
}

export async function subscribeSince(store: TestStore, startsAt: Date, ...customerIds: string[]): Promise<void> {
  const validFrom = new Date('2026-01-01T00:00:00Z');
  await publishPlan(store, { planId: 'basic', currency: 'USD', rates: RATES, validFrom }, ACTOR);
  for (const customerId of customerIds) {
    await createCustomer(store, { customerId, name: `${customerId} Ltd`, currency: 'USD' }, ACTOR);
    await subscribe(store, { customerId, planId: 'basic', startsAt }, ACTOR);
  }
}

/** A plan that charges this from an instant on, by default from the start of 2026. */
export async function publishContent(
  store: TestStore,
  plan: { readonly planId: string; readonly currency: string; readonly content: PlanContentText },
  validFrom: Date = new Date('2026-01-01T00:00:00Z'),
): Promise<void> {
  const { revision } = await savePlanDraft(store, plan, ACTOR);
  await publishPlanDraft(store, { planId: plan.planId, revision, validFrom }, ACTOR);
}
