import type { InvoiceLineKind, Party } from './invoice-input.ts';

/** An invoice as stored. Amounts and quantities are exact decimals as text. */
export interface Invoice {
  /** A UUID. */
  readonly invoiceId: string;
  /** Gapless per series; a draft has none. */
  readonly number: string | undefined;
  readonly customerId: string;
  /** A draft is computed anew at every run; of what is final only the state changes. `paid`: nothing is due. */
  readonly state: 'draft' | 'final' | 'paid' | 'void';
  /** E.g. "2026-09": the month that it starts in, in the customer's time zone. */
  readonly period: string;
  readonly periodStart: Date;
  /** Exclusive. */
  readonly periodEnd: Date;
  /** IANA: periods and days of the invoice are meant in it. */
  readonly timeZone: string;
  /** ISO 4217. */
  readonly currency: string;
  /** The sum of the lines' amounts, and of the taxes where the lines are without them. */
  readonly total: string;
  /** total - tax. */
  readonly net: string;
  /** The sum of the taxes. */
  readonly tax: string;
  readonly taxes: readonly InvoiceTax[];
  /** Whether the lines' amounts have the taxes in them. */
  readonly pricesIncludeTax: boolean;
  readonly lines: readonly InvoiceLine[];
  readonly finalizedAt: Date | undefined;
  readonly dueAt: Date | undefined;
  readonly amountPaid: string;
  readonly amountCredited: string;
  /** total - credited - paid, at least 0; 0 of a draft or a void invoice. */
  readonly amountDue: string;
  /** Only where it is a re-issue. */
  readonly replacesInvoiceId: string | undefined;
  readonly voidedAt: Date | undefined;
  /** Empty where it is not void. */
  readonly voidReason: string;
  /** As of when it was computed; `undefined` where nobody had said who invoices are from. */
  readonly seller: Seller | undefined;
  /** As of when it was computed; `undefined` where it was made before inputs were kept. */
  readonly buyer: Party | undefined;
  /** SHA-256 of all that it was computed from, in hexadecimal. */
  readonly inputHash: string;
  /** SHA-256 of its lines and taxes, in hexadecimal. */
  readonly linesHash: string;
}

/** Who invoices are from. */
export interface Seller extends Party {
  /** How to pay, e.g. the bank account; shown as it is. */
  readonly paymentLines: readonly string[];
}

/** One of the taxes of an invoice, or the reason why there is none. */
export interface InvoiceTax {
  /** E.g. "VAT". */
  readonly name: string;
  readonly percent: string;
  /** What it is on, without it. */
  readonly base: string;
  readonly amount: string;
  /** Why there is none: "reverse charge" or the reason of the exemption; else empty. */
  readonly note: string;
}

/** A `ComputedLine` as text; see there for what its parts mean. */
export interface InvoiceLine {
  readonly kind: InvoiceLineKind;
  readonly chargeId: string;
  /** The metric, e.g. "cpu"; empty where it is not of one. */
  readonly meter: string;
  /** E.g. "CPU". */
  readonly description: string;
  readonly quantity: string;
  /** E.g. "core-hour". */
  readonly unit: string;
  /** The part of the quantity that the plan's allowance covers. */
  readonly included: string;
  /** The part of the quantity that was not observed but filled in by the plan's gap policy. */
  readonly estimated: string;
  /** Empty where the amount is not one price times a quantity. */
  readonly unitPrice: string;
  readonly amount: string;
  /** How the amount came about, where the charge has tiers or packages. Amounts are not rounded but to 38 digits. */
  readonly tiers: readonly {
    readonly quantity: string;
    readonly unitPrice: string;
    readonly flatAmount: string;
    readonly amount: string;
  }[];
  readonly start: Date;
  /** Exclusive. */
  readonly end: Date;
  /** Empty, and version 0, where no plan says so. */
  readonly planId: string;
  readonly planVersion: number;
  /** By region; they add up to `quantity`. */
  readonly regions: readonly { readonly region: string; readonly quantity: string }[];
  readonly taxable: boolean;
  /** Where the plan is in another currency. */
  readonly exchange:
    | { readonly fromCurrency: string; readonly rate: string; readonly day: string; readonly source: string }
    | undefined;
  /** The final invoice that an adjustment corrects. */
  readonly adjustsInvoiceId: string | undefined;
  readonly manualLineId: string | undefined;
}
