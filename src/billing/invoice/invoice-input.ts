import type { Decimal } from '../money.ts';
import type { DiscountTerms, GapPolicy, MeasuredUsage, Metric, PlanContent } from '../rating/plan-content.ts';

/**
 * All that an invoice is computed from, and nothing else: `computeInvoice` is a pure function of it. It is stored with the
 * invoice as text (`encodeInput`), so that the invoice can be computed again. Instants are on whole seconds.
 */
export interface InvoiceInput {
  readonly customerId: string;
  /** ISO 4217. */
  readonly currency: string;
  /** IANA. */
  readonly timeZone: string;
  readonly period: BillingPeriod;
  /** In order of time. */
  readonly spans: readonly MeasuredPlanSpan[];
  /** Spans of the next period as planned now, for fees in advance; its discounts hold for them. */
  readonly next: { readonly period: BillingPeriod; readonly spans: readonly PlanSpan[] };
  /** Fees of this period on the invoice before; empty where there is none. */
  readonly billedInAdvance: readonly ComputedLine[];
  /** Of the customer, valid for this period; in order of their ids. Those of the plan are in its content. */
  readonly discounts: readonly { readonly discountId: string; readonly terms: DiscountTerms }[];
  /** What earlier periods are off: lines of the kind `adjustment`. */
  readonly adjustments: readonly ComputedLine[];
  readonly manualLines: readonly ManualLine[];
  readonly tax: TaxInput;
  readonly buyer: Party;
  /** `undefined` where nobody said who invoices are from. */
  readonly seller: (Party & { readonly paymentLines: readonly string[] }) | undefined;
}

/** `[start, end)`, from anchor to anchor. */
export interface BillingPeriod {
  /** E.g. "2026-09". */
  readonly name: string;
  readonly start: Date;
  readonly end: Date;
}

/** A part of a period in which one plan version holds. */
export interface PlanSpan {
  readonly start: Date;
  readonly end: Date;
  readonly planId: string;
  readonly planVersion: number;
  readonly content: PlanContent;
  /** The metrics that its charges name. */
  readonly metrics: readonly Metric[];
  /** Where the plan is in another currency than the customer. */
  readonly exchange: Exchange | undefined;
}

export interface Exchange {
  readonly fromCurrency: string;
  /** One unit of it in the customer's currency. */
  readonly rate: Decimal;
  /** E.g. "2026-09-30". */
  readonly day: string;
  readonly source: string;
}

export interface MeasuredPlanSpan extends PlanSpan {
  /** One for each region, in their order. */
  readonly usage: readonly SpanUsage[];
}

/** What was used in one region in one span. */
export interface SpanUsage {
  readonly region: string;
  readonly observed: MeasuredUsage;
  /** What the plan's gap policy fills in. */
  readonly estimated: MeasuredUsage;
  /** Of the hours that it is the sum of, in hexadecimal. */
  readonly hoursHash: string;
}

/** What usage is asked for; answered in the same order. */
export interface UsageRequest {
  readonly customerId: string;
  readonly spans: readonly UsageSpan[];
}

/** Unix nanoseconds, on whole seconds. */
export interface UsageSpan {
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  readonly gapPolicy: GapPolicy;
  readonly gapSecondsMax: number;
}

export interface ManualLine {
  readonly manualLineId: string;
  readonly description: string;
  readonly quantity: Decimal;
  readonly unit: string;
  readonly unitPrice: Decimal;
  readonly at: Date;
  readonly taxable: boolean;
}

export type TaxInput =
  | {
      readonly treatment: 'standard';
      readonly region: string;
      readonly rates: readonly { readonly name: string; readonly percent: Decimal }[];
      readonly pricesIncludeTax: boolean;
    }
  | { readonly treatment: 'reverse_charge' | 'exempt'; readonly note: string };

export interface Party {
  readonly name: string;
  readonly addressLines: readonly string[];
  /** ISO 3166-1, two letters. */
  readonly country: string;
  readonly taxId: string;
  readonly email: string;
}

export type InvoiceLineKind =
  | 'usage'
  | 'flat'
  | 'discount'
  | 'minimum'
  | 'commitment'
  | 'overage'
  | 'cap'
  | 'adjustment'
  | 'manual';

/** A line before it is text. */
export interface ComputedLine {
  readonly kind: InvoiceLineKind;
  /**
   * With kind, plan, version and start, names the line in its invoice: the charge's, the customer's discount's, "discount:2" for a
   * plan's, empty for the plan as a whole; for an adjustment the kind and id of the line it corrects, "usage/cpu".
   */
  readonly chargeId: string;
  /** Empty where it is not of one metric. */
  readonly metric: string;
  readonly description: string;
  /** Below 0 only in adjustments and manual lines. For show, as are `included` and `estimated`: to 38 digits. */
  readonly quantity: Decimal;
  readonly unit: string;
  readonly included: Decimal;
  readonly estimated: Decimal;
  /** `undefined` where the amount is not one price times a quantity. */
  readonly unitPrice: Decimal | undefined;
  /** Rounded once to the currency's minor unit. */
  readonly amount: Decimal;
  readonly tiers: readonly {
    readonly quantity: Decimal;
    readonly unitPrice: Decimal;
    readonly flatAmount: Decimal;
    readonly amount: Decimal;
  }[];
  /** Add up to `quantity`; in order, without those that used nothing. */
  readonly regions: readonly { readonly region: string; readonly quantity: Decimal }[];
  readonly start: Date;
  readonly end: Date;
  /** Empty, and version 0, where no plan says so. */
  readonly planId: string;
  readonly planVersion: number;
  readonly taxable: boolean;
  readonly exchange: Exchange | undefined;
  readonly adjustsInvoiceId: string | undefined;
  readonly manualLineId: string | undefined;
}

export interface ComputedTax {
  readonly name: string;
  readonly percent: Decimal;
  /** Without the tax. */
  readonly base: Decimal;
  readonly amount: Decimal;
  readonly note: string;
}
