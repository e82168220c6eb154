import { createCustomer } from '../../src/billing/customers.ts';
import type { InvoicingStore, UsageReader } from '../../src/billing/invoice/close-customer.ts';
import { publishPlan } from '../../src/billing/plans/publish-plan.ts';
import { subscribe } from '../../src/billing/plans/subscribe.ts';
import type { RegionUsage } from '../../src/billing/rating/meters.ts';
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

/** What each customer used, hour by hour, and how many hours wait for the rollup. */
class GivenUsage implements UsageReader {
  readonly #hours: { customerId: string; hour: string; usage: RegionUsage }[] = [];
  /** Called before each sum. */
  onSum: (customerId: string) => Promise<void> | void = () => undefined;
  pending = 0;

  /** One core for one hour, unless said otherwise. */
  add(customerId: string, hour: string, usage: Partial<RegionUsage> = {}): this {
    const none = {
      memoryByteSeconds: 0n,
      diskReadBytes: 0n,
      diskWriteBytes: 0n,
      networkRxBytes: 0n,
      networkTxBytes: 0n,
    };
    const whole = { region: 'eu', cpuTimeNanos: CORE_HOUR_NANOS, observedNanos: CORE_HOUR_NANOS, ...none, ...usage };
    this.#hours.push({ customerId, hour, usage: whole });
    return this;
  }

  remove(customerId: string): void {
    const kept = this.#hours.filter((each) => each.customerId !== customerId);
    this.#hours.splice(0, this.#hours.length, ...kept);
  }

  async sumByRegion(customerId: string, startNanos: bigint, endNanos: bigint): Promise<RegionUsage[]> {
    await this.onSum(customerId);
    const inside = (hour: string) => {
      const nanos = BigInt(Date.parse(hour)) * 1_000_000n;
      return nanos >= startNanos && nanos < endNanos;
    };
    return this.#hours.filter((each) => each.customerId === customerId && inside(each.hour)).map((each) => each.usage);
  }

  async pendingHours(): Promise<number> {
    return this.pending;
  }
}

export interface TestStore extends InvoicingStore {
  readonly clock: StandingClock;
  readonly usage: GivenUsage;
}

/** September 2026 is over for ten days; the grace is one day. */
export function aStore({ db }: TestPostgres): TestStore {
  const clock = new StandingClock('2026-10-11T00:00:00Z');
  return { db, clock, usage: new GivenUsage(), graceMs: 86_400_000, numberPrefix: 'INV-' };
}

/** Registers customers who have had the plan "basic" since the start of 2026. */
export async function subscribeToBasic(store: TestStore, ...customerIds: string[]): Promise<void> {
  const since = new Date('2026-01-01T00:00:00Z');
  await publishPlan(store, { planId: 'basic', currency: 'USD', rates: RATES, validFrom: since }, ACTOR);
  for (const customerId of customerIds) {
    await createCustomer(store, { customerId, name: `${customerId} Ltd`, currency: 'USD' }, ACTOR);
    await subscribe(store, { customerId, planId: 'basic', startsAt: since }, ACTOR);
  }
}
