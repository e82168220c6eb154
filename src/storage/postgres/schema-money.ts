import type { ColumnType, Generated, JSONColumnType } from 'kysely';

/** The tables of migration `0003-money`; the columns that it adds to older tables are with those. Numerics are text. */
export interface MoneyTables {
  seller: SellerTable;
  erasures: ErasuresTable;
  plan_drafts: PlanDraftsTable;
  metrics: MetricsTable;
  discounts: DiscountsTable;
  tax_rates: TaxRatesTable;
  exchange_rates: ExchangeRatesTable;
  manual_lines: ManualLinesTable;
  invoice_taxes: TaxLinesTable & { invoice_id: Fixed<string> };
  credit_notes: CreditNotesTable;
  credit_note_lines: CreditNoteLinesTable;
  credit_note_taxes: TaxLinesTable & { credit_note_id: Fixed<string> };
  payments: PaymentsTable;
  write_keys: WriteKeysTable;
  billing_periods: BillingPeriodsTable;
  audit_head: AuditHeadTable;
}

/** Written once: the database refuses a change. */
type Fixed<T> = ColumnType<T, T, never>;
/** JSON that its domain parses: what is stored may be older than the code. */
type Json = ColumnType<unknown, string, string>;

interface SellerTable {
  /** Always true: there is one row at most. */
  id: Generated<boolean>;
  content: Json;
  put_at: Date;
}

interface ErasuresTable {
  /** A UUID. */
  id: Fixed<string>;
  customer_id: Fixed<string>;
  reason: Fixed<string>;
  requested_by: Fixed<string>;
  requested_at: Fixed<Date>;
  completed_at: Date | null;
  /** Rows by table. */
  removed: JSONColumnType<Record<string, number>>;
  kept: JSONColumnType<Record<string, number>>;
}

interface PlanDraftsTable {
  plan_id: Fixed<string>;
  currency: string;
  content: Json;
  /** From 1, rises with every save. */
  revision: number;
  saved_at: Date;
}

interface MetricsTable {
  id: Fixed<string>;
  description: Fixed<string>;
  unit: Fixed<string>;
  terms: JSONColumnType<{ quantity: string; weight: string }[], string, never>;
  /** A whole number above 0. */
  per_unit: Fixed<string>;
  defined_at: Fixed<Date>;
}

interface DiscountsTable {
  id: Fixed<string>;
  customer_id: Fixed<string>;
  terms: Json;
  valid_from: Fixed<Date>;
  valid_until: Date | null;
  created_at: Fixed<Date>;
}

interface TaxRatesTable {
  region: Fixed<string>;
  name: Fixed<string>;
  valid_from: Fixed<Date>;
  /** 0 to 100. */
  percent: Fixed<string>;
  put_at: Fixed<Date>;
}

interface ExchangeRatesTable {
  from_currency: Fixed<string>;
  to_currency: Fixed<string>;
  /** E.g. "2026-09-30". */
  day: Fixed<string>;
  rate: Fixed<string>;
  source: Fixed<string>;
  put_at: Fixed<Date>;
}

interface ManualLinesTable {
  /** A UUID. */
  id: Fixed<string>;
  customer_id: Fixed<string>;
  description: Fixed<string>;
  quantity: Fixed<string>;
  unit: Fixed<string>;
  unit_price: Fixed<string>;
  at: Fixed<Date>;
  taxable: Fixed<boolean>;
  added_by: Fixed<string>;
  added_at: Fixed<Date>;
}

interface TaxLinesTable {
  /** From 1. */
  position: Fixed<number>;
  name: Fixed<string>;
  percent: Fixed<string>;
  base: Fixed<string>;
  amount: Fixed<string>;
  note: Fixed<string>;
}

interface CreditNotesTable {
  /** A UUID. */
  id: Fixed<string>;
  /** Gapless. */
  number: Fixed<string>;
  invoice_id: Fixed<string>;
  customer_id: Fixed<string>;
  currency: Fixed<string>;
  reason: Fixed<string>;
  tax: Fixed<string>;
  total: Fixed<string>;
  issued_by: Fixed<string>;
  issued_at: Fixed<Date>;
}

interface CreditNoteLinesTable {
  credit_note_id: Fixed<string>;
  /** From 1. */
  position: Fixed<number>;
  /** The position of the invoice's line. */
  invoice_line: Fixed<number>;
  description: Fixed<string>;
  /** Has the sign of the invoice's line. */
  amount: Fixed<string>;
}

interface PaymentsTable {
  /** A UUID. */
  id: Fixed<string>;
  invoice_id: Fixed<string>;
  /** Above 0. */
  amount: Fixed<string>;
  paid_at: Fixed<Date>;
  method: Fixed<string>;
  reference: Fixed<string>;
  /** Set: the amount counts as taken back. */
  reverses_payment_id: Fixed<string | null>;
  recorded_by: Fixed<string>;
  recorded_at: Fixed<Date>;
}

interface WriteKeysTable {
  /** E.g. "payment". */
  operation: Fixed<string>;
  /** The caller's. */
  key: Fixed<string>;
  /** SHA-256 of the request. */
  input_hash: Fixed<Buffer>;
  result_id: Fixed<string>;
  written_at: Fixed<Date>;
}

interface BillingPeriodsTable {
  customer_id: Fixed<string>;
  period_start: Fixed<Date>;
  /** Exclusive. */
  period_end: Fixed<Date>;
  /** E.g. "2026-09". */
  period: Fixed<string>;
  /** Nothing is left to do. */
  settled: Generated<boolean>;
  /** Failed tries since the last success. */
  failures: Generated<number>;
  failure: Generated<string>;
  failed_at: Generated<Date | null>;
  /** Before anything was read of what it was settled with. */
  computed_at: Generated<Date | null>;
}

/** Read only: a trigger keeps it. */
interface AuditHeadTable {
  id: ColumnType<boolean, never, never>;
  sequence: ColumnType<string, never, never>;
  hash: ColumnType<Buffer, never, never>;
}
