import { type Kysely, sql } from 'kysely';

/**
 * Prices of every kind, invoices that can be paid, credited, voided and proved, and what keeps writes apart. As before, what
 * must hold of money holds here: what is final changes only its state, what was published or posted never changes, and the
 * head of the audit trail is kept apart from it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  const parts = [CUSTOMERS, PLANS, RATES, INVOICES, GUARDS, CREDIT_NOTES, PAYMENTS, PERIODS, AUDIT, SEALS];
  for (const statement of parts.flat()) await sql.raw(statement).execute(db);
}

const CUSTOMERS = [
  `ALTER TABLE customers
     ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
     ADD COLUMN anchor_day integer NOT NULL DEFAULT 1 CHECK (anchor_day BETWEEN 1 AND 31),
     ADD COLUMN legal_name text NOT NULL DEFAULT '',
     ADD COLUMN address_lines text[] NOT NULL DEFAULT '{}',
     ADD COLUMN country text NOT NULL DEFAULT '',
     ADD COLUMN tax_id text NOT NULL DEFAULT '',
     ADD COLUMN email text NOT NULL DEFAULT '',
     ADD COLUMN tax_region text NOT NULL DEFAULT '',
     ADD COLUMN tax_treatment text NOT NULL DEFAULT 'standard'
       CHECK (tax_treatment IN ('standard', 'reverse_charge', 'exempt')),
     ADD COLUMN tax_exempt_reason text NOT NULL DEFAULT '',
     ADD COLUMN prices_include_tax boolean NOT NULL DEFAULT false,
     ADD COLUMN payment_terms_days integer NOT NULL DEFAULT 30 CHECK (payment_terms_days BETWEEN 0 AND 365),
     ADD COLUMN erased_at timestamptz,
     ADD CHECK ((tax_treatment = 'exempt') = (tax_exempt_reason <> ''))`,
  // One row at most: who invoices are from.
  `CREATE TABLE seller (
     id boolean PRIMARY KEY DEFAULT true CHECK (id),
     content jsonb NOT NULL,
     put_at timestamptz NOT NULL
   )`,
  `CREATE TABLE erasures (
     id uuid PRIMARY KEY,
     customer_id text COLLATE "C" NOT NULL,
     reason text NOT NULL,
     requested_by text NOT NULL,
     requested_at timestamptz NOT NULL,
     completed_at timestamptz,
     removed jsonb NOT NULL,
     kept jsonb NOT NULL
   )`,
];

const PLANS = [
  `ALTER TABLE plan_versions ADD COLUMN content jsonb`,
  `CREATE TABLE plan_drafts (
     plan_id text COLLATE "C" PRIMARY KEY,
     currency text NOT NULL,
     content jsonb NOT NULL,
     revision integer NOT NULL CHECK (revision > 0),
     saved_at timestamptz NOT NULL
   )`,
  `CREATE TABLE metrics (
     id text COLLATE "C" PRIMARY KEY,
     description text NOT NULL,
     unit text NOT NULL,
     terms jsonb NOT NULL,
     per_unit numeric NOT NULL CHECK (per_unit > 0 AND per_unit = trunc(per_unit)),
     defined_at timestamptz NOT NULL
   )`,
  // A change of plan may lie inside an hour. A plan of '' is none: the subscription before ends there.
  `ALTER TABLE subscriptions
     DROP CONSTRAINT subscriptions_starts_at_check,
     ADD CHECK (extract(epoch FROM starts_at) % 1 = 0)`,
  `CREATE TABLE discounts (
     id text COLLATE "C" PRIMARY KEY,
     customer_id text COLLATE "C" NOT NULL REFERENCES customers,
     terms jsonb NOT NULL,
     valid_from timestamptz NOT NULL,
     valid_until timestamptz CHECK (valid_until > valid_from),
     created_at timestamptz NOT NULL
   )`,
  `CREATE INDEX discounts_by_customer ON discounts (customer_id, id)`,
];

const RATES = [
  `CREATE TABLE tax_rates (
     region text COLLATE "C" NOT NULL,
     name text COLLATE "C" NOT NULL,
     valid_from timestamptz NOT NULL,
     percent numeric NOT NULL CHECK (percent >= 0 AND percent <= 100),
     put_at timestamptz NOT NULL,
     PRIMARY KEY (region, name, valid_from)
   )`,
  `CREATE TABLE exchange_rates (
     from_currency text NOT NULL,
     to_currency text NOT NULL CHECK (to_currency <> from_currency),
     day date NOT NULL,
     rate numeric NOT NULL CHECK (rate > 0),
     source text NOT NULL,
     put_at timestamptz NOT NULL,
     PRIMARY KEY (from_currency, to_currency, day)
   )`,
];

const INVOICES = [
  `ALTER TABLE invoices
     DROP CONSTRAINT invoices_customer_id_period_start_key,
     DROP CONSTRAINT invoices_state_check,
     DROP CONSTRAINT invoices_check1,
     DROP CONSTRAINT invoices_check2,
     ADD COLUMN period text NOT NULL DEFAULT '',
     ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
     ADD COLUMN tax numeric NOT NULL DEFAULT 0,
     ADD COLUMN net numeric GENERATED ALWAYS AS (total - tax) STORED,
     ADD COLUMN prices_include_tax boolean NOT NULL DEFAULT false,
     ADD COLUMN due_at timestamptz,
     ADD COLUMN replaces_invoice_id uuid REFERENCES invoices,
     ADD COLUMN voided_at timestamptz,
     ADD COLUMN void_reason text NOT NULL DEFAULT '',
     ADD COLUMN input text,
     ADD CHECK (state IN ('draft', 'final', 'paid', 'void')),
     ADD CHECK ((state <> 'draft') = (number IS NOT NULL)),
     ADD CHECK ((state <> 'draft') = (finalized_at IS NOT NULL)),
     ADD CHECK ((state = 'void') = (voided_at IS NOT NULL))`,
  `COMMENT ON COLUMN invoices.input IS 'All that it was computed from, as the text that input_hash is of.'`,
  // A void invoice does not count as billed: its period may have another.
  `CREATE UNIQUE INDEX invoices_one_per_period ON invoices (customer_id, period_start) WHERE state <> 'void'`,
  `CREATE INDEX invoices_unpaid ON invoices (due_at) WHERE state = 'final'`,
  `CREATE TABLE manual_lines (
     id uuid PRIMARY KEY,
     customer_id text COLLATE "C" NOT NULL REFERENCES customers,
     description text NOT NULL,
     quantity numeric NOT NULL,
     unit text NOT NULL,
     unit_price numeric NOT NULL,
     at timestamptz NOT NULL,
     taxable boolean NOT NULL,
     added_by text NOT NULL,
     added_at timestamptz NOT NULL
   )`,
  `CREATE INDEX manual_lines_by_customer ON manual_lines (customer_id, at)`,
  `ALTER TABLE invoice_lines
     DROP CONSTRAINT invoice_lines_quantity_check,
     DROP CONSTRAINT invoice_lines_unit_price_check,
     ALTER COLUMN unit_price DROP NOT NULL,
     ALTER COLUMN plan_id DROP NOT NULL,
     ALTER COLUMN plan_version DROP NOT NULL,
     ADD COLUMN kind text NOT NULL DEFAULT 'usage' CHECK (kind IN
       ('usage', 'flat', 'discount', 'minimum', 'commitment', 'overage', 'cap', 'adjustment', 'manual')),
     ADD COLUMN charge_id text NOT NULL DEFAULT '',
     ADD COLUMN included numeric NOT NULL DEFAULT 0,
     ADD COLUMN estimated numeric NOT NULL DEFAULT 0,
     ADD COLUMN tiers jsonb NOT NULL DEFAULT '[]',
     ADD COLUMN taxable boolean NOT NULL DEFAULT true,
     ADD COLUMN exchange jsonb,
     ADD COLUMN adjusts_invoice_id uuid REFERENCES invoices,
     ADD COLUMN manual_line_id uuid REFERENCES manual_lines,
     ADD CHECK ((kind = 'adjustment') = (adjusts_invoice_id IS NOT NULL)),
     ADD CHECK ((kind = 'manual') = (manual_line_id IS NOT NULL)),
     ADD CHECK ((plan_id IS NULL) = (plan_version IS NULL))`,
  `CREATE INDEX invoice_lines_adjusting ON invoice_lines (adjusts_invoice_id) WHERE adjusts_invoice_id IS NOT NULL`,
  `CREATE INDEX invoice_lines_manual ON invoice_lines (manual_line_id) WHERE manual_line_id IS NOT NULL`,
  `CREATE INDEX invoice_lines_by_plan ON invoice_lines (plan_id, ends_at)`,
  `CREATE TABLE invoice_taxes (
     invoice_id uuid NOT NULL REFERENCES invoices ON DELETE CASCADE,
     position integer NOT NULL CHECK (position > 0),
     name text NOT NULL,
     percent numeric NOT NULL CHECK (percent >= 0),
     base numeric NOT NULL,
     amount numeric NOT NULL,
     note text NOT NULL,
     PRIMARY KEY (invoice_id, position)
   )`,
];

/**
 * What is no draft any more changes only in its state, and only along `final ↔ paid` and `final → void`. It leaves draft only
 * with lines and taxes that add up. `net` is left out of the comparison: it is generated, and not yet known in this trigger.
 */
const GUARDS = [
  `CREATE OR REPLACE FUNCTION guard_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
   DECLARE
     lines_sum numeric;
     taxes_sum numeric;
   BEGIN
     IF TG_OP = 'DELETE' THEN
       IF OLD.state <> 'draft' THEN
         RAISE EXCEPTION 'invoice % is final: % refused', OLD.number, TG_OP USING ERRCODE = 'restrict_violation';
       END IF;
       RETURN OLD;
     END IF;
     IF TG_OP = 'UPDATE' AND OLD.state <> 'draft' THEN
       IF (OLD.state, NEW.state) NOT IN (('final', 'paid'), ('paid', 'final'), ('final', 'void'))
          OR to_jsonb(NEW) - '{state,voided_at,void_reason,net}'::text[]
             <> to_jsonb(OLD) - '{state,voided_at,void_reason,net}'::text[] THEN
         RAISE EXCEPTION 'invoice % is final: % refused', OLD.number, TG_OP USING ERRCODE = 'restrict_violation';
       END IF;
       RETURN NEW;
     END IF;
     IF NEW.state <> 'draft' THEN
       SELECT sum(amount) INTO lines_sum FROM invoice_lines WHERE invoice_id = NEW.id;
       SELECT coalesce(sum(amount), 0) INTO taxes_sum FROM invoice_taxes WHERE invoice_id = NEW.id;
       IF NEW.tax <> taxes_sum OR lines_sum IS DISTINCT FROM
          (CASE WHEN NEW.prices_include_tax THEN NEW.total ELSE NEW.total - NEW.tax END) THEN
         RAISE EXCEPTION 'invoice % is not the sum of its lines and taxes', NEW.id USING ERRCODE = 'check_violation';
       END IF;
     END IF;
     RETURN NEW;
   END $$`,
  `CREATE OR REPLACE FUNCTION guard_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
   DECLARE
     parent invoices;
   BEGIN
     SELECT * INTO parent FROM invoices
       WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.invoice_id ELSE NEW.invoice_id END FOR SHARE;
     IF parent.state <> 'draft' THEN
       RAISE EXCEPTION 'invoice % is final: % of its lines refused', parent.number, TG_OP
         USING ERRCODE = 'restrict_violation';
     END IF;
     IF TG_OP = 'DELETE' THEN
       RETURN OLD;
     END IF;
     RETURN NEW;
   END $$`,
  `CREATE TRIGGER guard_invoice_tax BEFORE INSERT OR DELETE ON invoice_taxes
   FOR EACH ROW EXECUTE FUNCTION guard_invoice_line()`,
  `CREATE TRIGGER refuse_change BEFORE UPDATE ON invoice_taxes FOR EACH ROW EXECUTE FUNCTION refuse_change()`,
];

const CREDIT_NOTES = [
  `CREATE TABLE credit_notes (
     id uuid PRIMARY KEY,
     number text NOT NULL UNIQUE,
     invoice_id uuid NOT NULL REFERENCES invoices,
     customer_id text COLLATE "C" NOT NULL REFERENCES customers,
     currency text NOT NULL,
     reason text NOT NULL,
     tax numeric NOT NULL,
     total numeric NOT NULL CHECK (total > 0),
     issued_by text NOT NULL,
     issued_at timestamptz NOT NULL
   )`,
  `CREATE INDEX credit_notes_by_invoice ON credit_notes (invoice_id)`,
  `CREATE INDEX credit_notes_by_customer ON credit_notes (customer_id, id)`,
  `CREATE TABLE credit_note_lines (
     credit_note_id uuid NOT NULL REFERENCES credit_notes,
     position integer NOT NULL CHECK (position > 0),
     invoice_line integer NOT NULL,
     description text NOT NULL,
     amount numeric NOT NULL CHECK (amount <> 0),
     PRIMARY KEY (credit_note_id, position)
   )`,
  `CREATE TABLE credit_note_taxes (
     credit_note_id uuid NOT NULL REFERENCES credit_notes,
     position integer NOT NULL CHECK (position > 0),
     name text NOT NULL,
     percent numeric NOT NULL,
     base numeric NOT NULL,
     amount numeric NOT NULL,
     note text NOT NULL,
     PRIMARY KEY (credit_note_id, position)
   )`,
  // Locks the invoice, so that two credit notes at once cannot both fit into what is left.
  `CREATE FUNCTION guard_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
   DECLARE
     credited invoices;
     so_far numeric;
   BEGIN
     SELECT * INTO credited FROM invoices WHERE id = NEW.invoice_id FOR UPDATE;
     SELECT coalesce(sum(total), 0) INTO so_far FROM credit_notes WHERE invoice_id = NEW.invoice_id;
     IF credited.state NOT IN ('final', 'paid') OR credited.currency <> NEW.currency
        OR so_far + NEW.total > credited.total THEN
       RAISE EXCEPTION 'credit note %: % % of invoice %, which is % over % with % credited', NEW.number, NEW.total,
         NEW.currency, credited.number, credited.state, credited.total, so_far USING ERRCODE = 'check_violation';
     END IF;
     RETURN NEW;
   END $$`,
  `CREATE TRIGGER guard_credit_note BEFORE INSERT ON credit_notes
   FOR EACH ROW EXECUTE FUNCTION guard_credit_note()`,
];

const PAYMENTS = [
  `CREATE TABLE payments (
     id uuid PRIMARY KEY,
     invoice_id uuid NOT NULL REFERENCES invoices,
     amount numeric NOT NULL CHECK (amount > 0),
     paid_at timestamptz NOT NULL,
     method text NOT NULL,
     reference text NOT NULL,
     reverses_payment_id uuid UNIQUE REFERENCES payments,
     recorded_by text NOT NULL,
     recorded_at timestamptz NOT NULL
   )`,
  `COMMENT ON COLUMN payments.reverses_payment_id IS 'Set: the amount counts as taken back.'`,
  `CREATE INDEX payments_by_invoice ON payments (invoice_id, id)`,
  // What was written under a caller's key: the same key and input again answers the same result.
  `CREATE TABLE write_keys (
     operation text NOT NULL,
     key text NOT NULL,
     input_hash bytea NOT NULL CHECK (length(input_hash) = 32),
     result_id uuid NOT NULL,
     written_at timestamptz NOT NULL,
     PRIMARY KEY (operation, key)
   )`,
];

/** The work of closing: a row per customer and period, so that a run goes on where the last one ended. */
const PERIODS = [
  `CREATE TABLE billing_periods (
     customer_id text COLLATE "C" NOT NULL REFERENCES customers,
     period_start timestamptz NOT NULL,
     period_end timestamptz NOT NULL CHECK (period_end > period_start),
     period text NOT NULL,
     settled boolean NOT NULL DEFAULT false,
     failures integer NOT NULL DEFAULT 0,
     failure text NOT NULL DEFAULT '',
     failed_at timestamptz,
     PRIMARY KEY (customer_id, period_start),
     CHECK ((failures > 0) = (failed_at IS NOT NULL))
   )`,
  `CREATE INDEX billing_periods_open ON billing_periods (period, customer_id) WHERE NOT settled`,
  `CREATE INDEX billing_periods_by_period ON billing_periods (period, customer_id)`,
];

/**
 * The head is kept where removing the last records does not reach it, and follows the trail by itself. Records that do not
 * go on from it are refused.
 */
const AUDIT = [
  `CREATE TABLE audit_head (
     id boolean PRIMARY KEY DEFAULT true CHECK (id),
     sequence bigint NOT NULL,
     hash bytea NOT NULL CHECK (length(hash) = 32)
   )`,
  `INSERT INTO audit_head (sequence, hash)
   SELECT sequence, hash FROM audit_records
   UNION ALL SELECT 0, decode(repeat('00', 32), 'hex') ORDER BY sequence DESC LIMIT 1`,
  `CREATE FUNCTION follow_audit() RETURNS trigger LANGUAGE plpgsql AS $$
   DECLARE
     head audit_head;
     first_added audit_records;
     last_added audit_records;
   BEGIN
     SELECT * INTO first_added FROM added ORDER BY sequence LIMIT 1;
     IF NOT FOUND THEN
       RETURN NULL;
     END IF;
     SELECT * INTO last_added FROM added ORDER BY sequence DESC LIMIT 1;
     SELECT * INTO head FROM audit_head FOR UPDATE;
     IF first_added.sequence <> head.sequence + 1 OR first_added.previous_hash <> head.hash THEN
       RAISE EXCEPTION 'audit record % does not follow the head, %', first_added.sequence, head.sequence
         USING ERRCODE = 'restrict_violation';
     END IF;
     UPDATE audit_head SET sequence = last_added.sequence, hash = last_added.hash;
     RETURN NULL;
   END $$`,
  `CREATE TRIGGER follow_audit AFTER INSERT ON audit_records REFERENCING NEW TABLE AS added
   FOR EACH STATEMENT EXECUTE FUNCTION follow_audit()`,
  `CREATE INDEX audit_records_by_subject ON audit_records (subject, sequence)`,
  `ALTER TABLE api_keys ADD COLUMN billaged_counters text CHECK (billaged_counters IN ('delta', 'cumulative'))`,
];

/** What is never changed, and what is never emptied: no row trigger sees a TRUNCATE. */
const UNCHANGED = [
  'metrics',
  'tax_rates',
  'exchange_rates',
  'credit_notes',
  'credit_note_lines',
  'credit_note_taxes',
  'payments',
  'write_keys',
];
const SEALS = [
  ...UNCHANGED.map((table) => {
    return `CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION refuse_change()`;
  }),
  `CREATE TRIGGER refuse_removal BEFORE DELETE ON audit_head FOR EACH ROW EXECUTE FUNCTION refuse_change()`,
  ...[...UNCHANGED, 'audit_head', 'invoice_taxes'].map((table) => {
    return `CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ${table} EXECUTE FUNCTION refuse_change()`;
  }),
];
