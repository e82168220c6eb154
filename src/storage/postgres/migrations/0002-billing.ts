import { type Kysely, sql } from 'kysely';

/**
 * Customers, plans, invoices, the ledger. What must hold of money holds in the database itself: published prices, ledger
 * entries and the audit trail are append-only, a final invoice never changes, and debits equal credits. Ids are ordered by
 * their bytes, as ClickHouse orders them, so that lists from both can be merged.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of [...APPEND_ONLY, ...PLANS, ...INVOICES, ...FINAL_INVOICES, ...LEDGER, ...BALANCE, ...SEALS]) {
    await sql.raw(statement).execute(db);
  }
}

const APPEND_ONLY = [
  `CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
   BEGIN
     RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
   END $$`,
];

const PLANS = [
  `CREATE TABLE customers (
     id text COLLATE "C" PRIMARY KEY,
     name text NOT NULL,
     currency text NOT NULL,
     created_at timestamptz NOT NULL
   )`,
  `CREATE TABLE plan_versions (
     plan_id text COLLATE "C" NOT NULL,
     version integer NOT NULL CHECK (version > 0),
     currency text NOT NULL,
     valid_from timestamptz NOT NULL,
     published_at timestamptz NOT NULL,
     PRIMARY KEY (plan_id, version),
     UNIQUE (plan_id, valid_from)
   )`,
  `CREATE TABLE plan_prices (
     plan_id text COLLATE "C" NOT NULL,
     version integer NOT NULL,
     meter text NOT NULL,
     unit_price numeric NOT NULL CHECK (unit_price >= 0),
     PRIMARY KEY (plan_id, version, meter),
     FOREIGN KEY (plan_id, version) REFERENCES plan_versions
   )`,
  `CREATE TABLE subscriptions (
     customer_id text COLLATE "C" NOT NULL REFERENCES customers,
     starts_at timestamptz NOT NULL CHECK (extract(epoch FROM starts_at) % 3600 = 0),
     plan_id text COLLATE "C" NOT NULL,
     created_at timestamptz NOT NULL,
     PRIMARY KEY (customer_id, starts_at)
   )`,
  `CREATE INDEX subscriptions_by_start ON subscriptions (starts_at)`,
  `CREATE INDEX subscriptions_by_plan ON subscriptions (plan_id)`,
];

const INVOICES = [
  `CREATE TABLE invoices (
     id uuid PRIMARY KEY,
     customer_id text COLLATE "C" NOT NULL REFERENCES customers,
     period_start timestamptz NOT NULL,
     period_end timestamptz NOT NULL CHECK (period_end > period_start),
     state text NOT NULL CHECK (state IN ('draft', 'final')),
     number text UNIQUE,
     currency text NOT NULL,
     total numeric NOT NULL,
     input_hash bytea NOT NULL CHECK (length(input_hash) = 32),
     lines_hash bytea NOT NULL CHECK (length(lines_hash) = 32),
     computed_at timestamptz NOT NULL,
     finalized_at timestamptz,
     UNIQUE (customer_id, period_start),
     CHECK ((state = 'final') = (number IS NOT NULL)),
     CHECK ((state = 'final') = (finalized_at IS NOT NULL))
   )`,
  `CREATE INDEX invoices_by_period ON invoices (period_start DESC, id DESC)`,
  `CREATE TABLE invoice_lines (
     invoice_id uuid NOT NULL REFERENCES invoices ON DELETE CASCADE,
     position integer NOT NULL CHECK (position > 0),
     meter text NOT NULL,
     description text NOT NULL,
     unit text NOT NULL,
     quantity numeric NOT NULL CHECK (quantity > 0),
     unit_price numeric NOT NULL CHECK (unit_price >= 0),
     amount numeric NOT NULL,
     starts_at timestamptz NOT NULL,
     ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
     plan_id text COLLATE "C" NOT NULL,
     plan_version integer NOT NULL,
     regions jsonb NOT NULL,
     PRIMARY KEY (invoice_id, position),
     FOREIGN KEY (plan_id, plan_version) REFERENCES plan_versions
   )`,
  `CREATE TABLE invoice_counters (
     series text PRIMARY KEY,
     last_number bigint NOT NULL CHECK (last_number > 0)
   )`,
  `CREATE TABLE closed_periods (
     period text PRIMARY KEY,
     period_end timestamptz NOT NULL,
     closed_at timestamptz NOT NULL
   )`,
];

/** A final invoice stays as it is, and with it its lines; it is made final only with lines that add up to its total. */
const FINAL_INVOICES = [
  `CREATE FUNCTION guard_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
   BEGIN
     IF TG_OP <> 'INSERT' AND OLD.state = 'final' THEN
       RAISE EXCEPTION 'invoice % is final: % refused', OLD.number, TG_OP USING ERRCODE = 'restrict_violation';
     END IF;
     IF TG_OP = 'DELETE' THEN
       RETURN OLD;
     END IF;
     IF NEW.state = 'final' AND NEW.total IS DISTINCT FROM
        (SELECT sum(amount) FROM invoice_lines WHERE invoice_id = NEW.id) THEN
       RAISE EXCEPTION 'invoice % is not the sum of its lines', NEW.id USING ERRCODE = 'check_violation';
     END IF;
     RETURN NEW;
   END $$`,
  `CREATE TRIGGER guard_invoice BEFORE INSERT OR UPDATE OR DELETE ON invoices
   FOR EACH ROW EXECUTE FUNCTION guard_invoice()`,
  // Locks the invoice's row, so that no line slips in beside a transaction that makes it final.
  `CREATE FUNCTION guard_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
   DECLARE
     line invoice_lines := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
     parent invoices;
   BEGIN
     SELECT * INTO parent FROM invoices WHERE id = line.invoice_id FOR SHARE;
     IF parent.state = 'final' THEN
       RAISE EXCEPTION 'invoice % is final: % of its lines refused', parent.number, TG_OP
         USING ERRCODE = 'restrict_violation';
     END IF;
     RETURN line;
   END $$`,
  `CREATE TRIGGER guard_invoice_line BEFORE INSERT OR DELETE ON invoice_lines
   FOR EACH ROW EXECUTE FUNCTION guard_invoice_line()`,
  `CREATE TRIGGER refuse_change BEFORE UPDATE ON invoice_lines FOR EACH ROW EXECUTE FUNCTION refuse_change()`,
];

const LEDGER = [
  `CREATE TABLE ledger_accounts (
     id text PRIMARY KEY,
     opened_at timestamptz NOT NULL
   )`,
  `CREATE TABLE ledger_transactions (
     id uuid PRIMARY KEY,
     idempotency_key text NOT NULL UNIQUE,
     input_hash bytea NOT NULL CHECK (length(input_hash) = 32),
     description text NOT NULL,
     posting_count integer NOT NULL CHECK (posting_count >= 2),
     posted_at timestamptz NOT NULL
   )`,
  `CREATE TABLE ledger_postings (
     transaction_id uuid NOT NULL REFERENCES ledger_transactions,
     position integer NOT NULL CHECK (position > 0),
     account_id text NOT NULL REFERENCES ledger_accounts,
     currency text NOT NULL,
     amount numeric NOT NULL,
     PRIMARY KEY (transaction_id, position)
   )`,
  `CREATE INDEX ledger_postings_by_account ON ledger_postings (account_id)`,
  `COMMENT ON COLUMN ledger_postings.amount IS 'A debit is above zero, a credit below.'`,
];

/**
 * Looked at when the database transaction commits, once all postings are there. The count, which is written with the
 * ledger transaction and never changes, is what keeps postings from being added to it later.
 */
const BALANCE = [
  `CREATE FUNCTION check_balance(checked uuid) RETURNS void LANGUAGE plpgsql AS $$
   DECLARE
     expected integer := (SELECT posting_count FROM ledger_transactions WHERE id = checked);
     found_count integer := (SELECT count(*) FROM ledger_postings WHERE transaction_id = checked);
     unbalanced text;
   BEGIN
     IF found_count <> expected THEN
       RAISE EXCEPTION 'ledger transaction % has % postings, not %', checked, found_count, expected
         USING ERRCODE = 'check_violation';
     END IF;
     SELECT currency || ' ' || sum(amount) INTO unbalanced FROM ledger_postings
       WHERE transaction_id = checked GROUP BY currency HAVING sum(amount) <> 0 LIMIT 1;
     IF FOUND THEN
       RAISE EXCEPTION 'ledger transaction % does not balance: its postings sum to %', checked, unbalanced
         USING ERRCODE = 'check_violation';
     END IF;
   END $$`,
  `CREATE FUNCTION check_transaction_balance() RETURNS trigger LANGUAGE plpgsql AS $$
   BEGIN PERFORM check_balance(NEW.id); RETURN NULL; END $$`,
  `CREATE FUNCTION check_posting_balance() RETURNS trigger LANGUAGE plpgsql AS $$
   BEGIN PERFORM check_balance(NEW.transaction_id); RETURN NULL; END $$`,
  `CREATE CONSTRAINT TRIGGER transaction_balances AFTER INSERT ON ledger_transactions
   DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_transaction_balance()`,
  `CREATE CONSTRAINT TRIGGER posting_balances AFTER INSERT ON ledger_postings
   DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_posting_balance()`,
];

/** What is never changed, and what is never emptied: no row trigger sees a TRUNCATE. */
const UNCHANGED = [
  'plan_versions',
  'plan_prices',
  'ledger_accounts',
  'ledger_transactions',
  'ledger_postings',
  'audit_records',
];
const SEALS = [
  ...UNCHANGED.map((table) => {
    return `CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION refuse_change()`;
  }),
  ...[...UNCHANGED, 'invoices', 'invoice_lines'].map((table) => {
    return `CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ${table} EXECUTE FUNCTION refuse_change()`;
  }),
];
