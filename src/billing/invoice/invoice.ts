/** An invoice as stored. Amounts and quantities are exact decimals as text. */
export interface Invoice {
  /** A UUID. */
  readonly invoiceId: string;
  /** Gapless per seller; a draft has none. */
  readonly number: string | undefined;
  readonly customerId: string;
  /** A draft is computed anew at every run; what is final never changes. */
  readonly state: 'draft' | 'final';
  readonly periodStart: Date;
  /** Exclusive. */
  readonly periodEnd: Date;
  /** ISO 4217. */
  readonly currency: string;
  /** The sum of the lines' amounts. */
  readonly total: string;
  readonly lines: readonly InvoiceLine[];
  readonly finalizedAt: Date | undefined;
}

/** What was used of one meter while one plan version held. */
export interface InvoiceLine {
  /** E.g. "cpu". */
  readonly meter: string;
  /** E.g. "CPU". */
  readonly description: string;
  readonly quantity: string;
  /** E.g. "core-hour". */
  readonly unit: string;
  readonly unitPrice: string;
  readonly amount: string;
  readonly start: Date;
  /** Exclusive. */
  readonly end: Date;
  readonly planId: string;
  readonly planVersion: number;
  /** By region; they add up to `quantity`. */
  readonly regions: readonly { readonly region: string; readonly quantity: string }[];
}
