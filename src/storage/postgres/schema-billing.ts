import type { ColumnType, Generated, JSONColumnType } from 'kysely';

/** The tables of migration `0002-billing`: customers, plans, invoices, the ledger. */
export interface BillingTables {
  customers: CustomersTable;
  plan_versions: PlanVersionsTable;
  subscriptions: SubscriptionsTable;
  invoices: InvoicesTable;
  invoice_lines: InvoiceLinesTable;
  invoice_counters: InvoiceCountersTable;
  ledger_accounts: LedgerAccountsTable;
  ledger_transactions: LedgerTransactionsTable;
  ledger_postings: LedgerPostingsTable;
}

/** Written once: the database refuses a change. */
type Fixed<T> = ColumnType<T, T, never>;
/** The same, with a value of the database's own where none is written. */
type FixedOptional<T> = ColumnType<T, T | undefined, never>;

type InvoiceLineKind =
  | 'usage'
  | 'flat'
  | 'discount'
  | 'minimum'
  | 'commitment'
  | 'overage'
  | 'cap'
  | 'adjustment'
  | 'manual';

export interface CustomersTable {
  id: Fixed<string>;
  name: string;
  /** ISO 4217. */
  currency: Fixed<string>;
  created_at: Fixed<Date>;
  /** IANA. */
  time_zone: Generated<string>;
  /** 1 to 31. */
  anchor_day: Generated<number>;
  /** Empty: `name`. */
  legal_name: Generated<string>;
  address_lines: Generated<string[]>;
  country: Generated<string>;
  tax_id: Generated<string>;
  email: Generated<string>;
  tax_region: Generated<string>;
  tax_treatment: Generated<'standard' | 'reverse_charge' | 'exempt'>;
  tax_exempt_reason: Generated<string>;
  prices_include_tax: Generated<boolean>;
  payment_terms_days: Generated<number>;
  erased_at: Generated<Date | null>;
}

interface PlanVersionsTable {
  plan_id: Fixed<string>;
  /** From 1. */
  version: Fixed<number>;
  currency: Fixed<string>;
  valid_from: Fixed<Date>;
  published_at: Fixed<Date>;
  /** A `PlanContent` as JSON. */
  content: ColumnType<unknown, string, never>;
}

interface SubscriptionsTable {
  customer_id: Fixed<string>;
  /** On a whole second. */
  starts_at: Fixed<Date>;
  /** Empty: none from here on. */
  plan_id: Fixed<string>;
  created_at: Fixed<Date>;
}

export interface InvoicesTable {
  /** A UUID. */
  id: Fixed<string>;
  customer_id: Fixed<string>;
  period_start: Fixed<Date>;
  /** Exclusive. */
  period_end: Fixed<Date>;
  state: 'draft' | 'final' | 'paid' | 'void';
  /** Of final invoices only. */
  number: string | null;
  currency: Fixed<string>;
  /** A decimal: the sum of the lines' amounts, and of the taxes where the lines are without them. */
  total: string;
  /** A decimal: the sum of the taxes. */
  tax: Generated<string>;
  /** total - tax. */
  net: ColumnType<string, never, never>;
  prices_include_tax: Generated<boolean>;
  /** E.g. "2026-09". */
  period: Generated<string>;
  /** IANA. */
  time_zone: Generated<string>;
  due_at: Generated<Date | null>;
  replaces_invoice_id: Generated<string | null>;
  voided_at: Generated<Date | null>;
  void_reason: Generated<string>;
  /** JSON, as the text that `input_hash` is of; null where it was made before inputs were kept. */
  input: Generated<string | null>;
  /** SHA-256 of what it was computed from. */
  input_hash: Buffer;
  /** SHA-256 of its lines. */
  lines_hash: Buffer;
  computed_at: Date;
  finalized_at: Date | null;
}

export interface InvoiceLinesTable {
  invoice_id: Fixed<string>;
  /** From 1. */
  position: Fixed<number>;
  meter: Fixed<string>;
  description: Fixed<string>;
  unit: Fixed<string>;
  quantity: Fixed<string>;
  /** Null where the amount is not one price times a quantity. */
  unit_price: Fixed<string | null>;
  amount: Fixed<string>;
  starts_at: Fixed<Date>;
  ends_at: Fixed<Date>;
  /** Null where no plan says so: manual lines. */
  plan_id: Fixed<string | null>;
  plan_version: Fixed<number | null>;
  regions: JSONColumnType<{ region: string; quantity: string }[], string, never>;
  kind: FixedOptional<InvoiceLineKind>;
  /** Empty where the plan as a whole says so, or none. */
  charge_id: FixedOptional<string>;
  /** The part of the quantity that an allowance covers. */
  included: FixedOptional<string>;
  /** The part of the quantity that was not observed. */
  estimated: FixedOptional<string>;
  tiers: JSONColumnType<
    { quantity: string; unitPrice: string; flatAmount: string; amount: string }[],
    string | undefined,
    never
  >;
  taxable: FixedOptional<boolean>;
  exchange: JSONColumnType<
    { fromCurrency: string; rate: string; day: string; source: string } | null,
    string | undefined,
    never
  >;
  adjusts_invoice_id: FixedOptional<string | null>;
  manual_line_id: FixedOptional<string | null>;
}

interface InvoiceCountersTable {
  /** What the numbers of one seller start with. */
  series: Fixed<string>;
  last_number: ColumnType<string, bigint, bigint>;
}

interface LedgerAccountsTable {
  id: Fixed<string>;
  opened_at: Fixed<Date>;
}

interface LedgerTransactionsTable {
  /** A UUID. */
  id: Fixed<string>;
  idempotency_key: Fixed<string>;
  /** SHA-256 of what was to be posted. */
  input_hash: Fixed<Buffer>;
  description: Fixed<string>;
  posting_count: Fixed<number>;
  posted_at: Fixed<Date>;
}

interface LedgerPostingsTable {
  transaction_id: Fixed<string>;
  /** From 1. */
  position: Fixed<number>;
  account_id: Fixed<string>;
  currency: Fixed<string>;
  /** A decimal: a debit is above 0, a credit below. */
  amount: Fixed<string>;
}
