import { type Kysely, sql } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { compareDecimals, type Decimal, decimalOfDouble, formatDecimal, parseDecimal } from '../money.ts';
import { type MeterId, METERS } from '../rating/meters.ts';
import type { UnitPrices } from '../rating/rate.ts';

/** The prices of a plan from an instant on, until its next version. Never changes once published. */
export interface PlanVersion {
  readonly planId: string;
  /** From 1, in the order of `validFrom`. */
  readonly version: number;
  /** ISO 4217; the same in all versions of a plan. */
  readonly currency: string;
  readonly prices: UnitPrices;
  /** An hour has the prices of the version that is valid at the hour's start. */
  readonly validFrom: Date;
}

/** The prices as callers give them: each double stands for its shortest decimal. */
export interface PricingRates {
  readonly cpuPerCoreHour: number;
  readonly memoryPerGbHour: number;
  readonly diskIoPerGb: number;
  readonly networkPerGb: number;
}

const PRICE_MAX: Decimal = { units: 1_000_000_000_000n, scale: 0 };
const PRICE_DIGITS_MAX = 18;

/** @throws CallerFault where a price is below 0, above 10^12, finer than 18 digits behind the point, or no number */
export function parseRates(rates: PricingRates): UnitPrices {
  return {
    cpu: parsePrice('rates.cpu_per_core_hour', rates.cpuPerCoreHour),
    memory: parsePrice('rates.memory_per_gb_hour', rates.memoryPerGbHour),
    disk_io: parsePrice('rates.disk_io_per_gb', rates.diskIoPerGb),
    network: parsePrice('rates.network_per_gb', rates.networkPerGb),
  };
}

/** For callers that take doubles: the double whose shortest decimal the price is. */
export function toRates(prices: UnitPrices): PricingRates {
  return {
    cpuPerCoreHour: toDouble(prices.cpu),
    memoryPerGbHour: toDouble(prices.memory),
    diskIoPerGb: toDouble(prices.disk_io),
    networkPerGb: toDouble(prices.network),
  };
}

export function samePrices(a: UnitPrices, b: UnitPrices): boolean {
  return METERS.every(({ id }) => compareDecimals(a[id], b[id]) === 0);
}

/** The price of each meter as text, for hashes and the audit trail. */
export function showPrices(prices: UnitPrices): Record<MeterId, string> {
  const { cpu, memory, disk_io, network } = prices;
  return {
    cpu: formatDecimal(cpu),
    memory: formatDecimal(memory),
    disk_io: formatDecimal(disk_io),
    network: formatDecimal(network),
  };
}

/** Every plan version with its prices, for a query to narrow and to order. */
export function planVersions(db: Kysely<Database>) {
  return db
    .selectFrom('plan_versions as version')
    .select(['version.plan_id', 'version.version', 'version.currency', 'version.valid_from'])
    .select((builder) => {
      const prices = builder
        .selectFrom('plan_prices as price')
        .whereRef('price.plan_id', '=', 'version.plan_id')
        .whereRef('price.version', '=', 'version.version')
        .select(sql<Record<MeterId, string>>`jsonb_object_agg(price.meter, price.unit_price::text)`.as('prices'));
      return prices.as('prices');
    });
}

/** A row of `planVersions`. @throws Error where a price is missing, which no published version has */
export function toPlanVersion(
  row: Awaited<ReturnType<ReturnType<typeof planVersions>['execute']>>[number],
): PlanVersion {
  const { plan_id: planId, version, currency, valid_from: validFrom } = row;
  const price = (meter: MeterId): Decimal => {
    const text = row.prices?.[meter];
    if (text === undefined) throw new Error(`plan "${planId}" version ${version} has no price for ${meter}`);
    return parseDecimal(text, meter);
  };
  const prices = { cpu: price('cpu'), memory: price('memory'), disk_io: price('disk_io'), network: price('network') };
  return { planId, version, currency, prices, validFrom };
}

function parsePrice(field: string, value: number): Decimal {
  const price = decimalOfDouble(value, field);
  if (compareDecimals(price, PRICE_MAX) > 0) {
    throw new CallerFault('invalid_argument', field, `${field}: ${value} is more than ${formatDecimal(PRICE_MAX)}`);
  }
  if (price.scale > PRICE_DIGITS_MAX) {
    const message = `${field}: ${value} has ${price.scale} digits behind the point, more than ${PRICE_DIGITS_MAX}`;
    throw new CallerFault('invalid_argument', field, message);
  }
  return price;
}

function toDouble(price: Decimal): number {
  return Number(formatDecimal(price));
}
