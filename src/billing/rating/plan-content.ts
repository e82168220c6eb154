import type { UsageQuantities } from '../../usage/window.ts';
import type { Decimal } from '../money.ts';

/** What of usage can be charged: everything measured but the count of windows. Sums, in the units that the names say. */
export type MeasuredUsage = Omit<UsageQuantities, 'windows'>;

/** A priced unit over what is measured: the weighted sum / `perUnit`. */
export interface Metric {
  /** E.g. "cpu". */
  readonly id: string;
  /** For the invoice, e.g. "CPU". */
  readonly description: string;
  /** E.g. "core-hour". */
  readonly unit: string;
  /** At least one; weights are at least 1. */
  readonly terms: readonly { readonly quantity: keyof MeasuredUsage; readonly weight: bigint }[];
  /** Above 0. */
  readonly perUnit: bigint;
}

/**
 * Everything that a plan version charges a billing period: see docs/money.md. Amounts are in the plan's currency, quantities
 * in the metric's unit; both are for a whole period. Already validated: nothing below 0, tiers rising, no region charged twice.
 */
export interface PlanContent {
  readonly name: string;
  /** In the order of lines. */
  readonly charges: readonly Charge[];
  readonly allowances: readonly { readonly metric: string; readonly quantity: Decimal }[];
  readonly discounts: readonly DiscountTerms[];
  /** Not together with `commitment`. */
  readonly minimum: Decimal | undefined;
  readonly commitment: { readonly amount: Decimal; readonly overagePercent: Decimal } | undefined;
  readonly cap: Decimal | undefined;
  readonly gapPolicy: GapPolicy;
  /** 120 to 3,600. */
  readonly gapSecondsMax: number;
}

export type GapPolicy = 'skip' | 'interpolate' | 'carry';

export interface Charge {
  /** Unique in the plan. */
  readonly chargeId: string;
  /** Empty: the metric's. */
  readonly description: string;
  /** Empty for a flat fee only. */
  readonly metric: string;
  /** Empty: all regions that no other charge of the metric names. */
  readonly regions: readonly string[];
  readonly model: ChargeModel;
  readonly cap: Decimal | undefined;
  readonly minimum: Decimal | undefined;
}

export type ChargeModel =
  | { readonly kind: 'unit'; readonly price: Decimal }
  | { readonly kind: 'graduated' | 'volume'; readonly tiers: readonly Tier[] }
  | { readonly kind: 'package'; readonly size: Decimal; readonly price: Decimal }
  | { readonly kind: 'flat'; readonly amount: Decimal; readonly inAdvance: boolean };

export interface Tier {
  /** Inclusive; `undefined` for the last. */
  readonly upTo: Decimal | undefined;
  readonly unitPrice: Decimal;
  readonly flatAmount: Decimal;
}

export interface DiscountTerms {
  readonly description: string;
  readonly value:
    | { readonly kind: 'percent'; readonly percent: Decimal }
    | { readonly kind: 'amount'; readonly amount: Decimal };
  /** Empty: every usage and flat line. */
  readonly chargeIds: readonly string[];
  /** Smaller first. */
  readonly order: number;
}
