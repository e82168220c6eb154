import type { ColumnType, JSONColumnType } from 'kysely';

/** The tables of migration `0002-billing`: customers, plans, invoices, the ledger. */
export interface BillingTables {
  customers: CustomersTable;
  plan_versions: PlanVersionsTable;
  plan_prices: PlanPricesTable;
  subscriptions: SubscriptionsTable;
  invoices: InvoicesTable;
  invoice_lines: InvoiceLinesTable;
  invoice_counters: InvoiceCountersTable;
  closed_periods: ClosedPeriodsTable;
  ledger_accounts: LedgerAccountsTable;
  ledger_transactions: LedgerTransactionsTable;
  ledger_postings: LedgerPostingsTable;
}

/** Written once: the database refuses a change. */
type Fixed<T> = ColumnType<T, T, never>;

export interface CustomersTable {
  id: Fixed<string>;
  name: Fixed<string>;
  /** ISO 4217. */
  currency: Fixed<string>;
  created_at: Fixed<Date>;
}

interface PlanVersionsTable {
  plan_id: Fixed<string>;
  /** From 1. */
  version: Fixed<number>;
  currency: Fixed<string>;
  valid_from: Fixed<Date>;
  published_at: Fixed<Date>;
}

interface PlanPricesTable {
  plan_id: Fixed<string>;
  version: Fixed<number>;
  meter: Fixed<string>;
  /** A decimal, at least 0. */
  unit_price: Fixed<string>;
}

interface SubscriptionsTable {
  customer_id: Fixed<string>;
  /** On a whole hour of UTC. */
  starts_at: Fixed<Date>;
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
  state: 'draft' | 'final';
  /** Of final invoices only. */
  number: string | null;
  currency: Fixed<string>;
  /** A decimal: the sum of the lines' amounts. */
  total: string;
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
  unit_price: Fixed<string>;
  amount: Fixed<string>;
  starts_at: Fixed<Date>;
  ends_at: Fixed<Date>;
  plan_id: Fixed<string>;
  plan_version: Fixed<number>;
  regions: JSONColumnType<{ region: string; quantity: string }[], string, never>;
}

interface InvoiceCountersTable {
  /** What the numbers of one seller start with. */
  series: Fixed<string>;
  last_number: ColumnType<string, bigint, bigint>;
}

interface ClosedPeriodsTable {
  /** E.g. "2026-09". */
  period: Fixed<string>;
  period_end: Fixed<Date>;
  closed_at: Fixed<Date>;
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
