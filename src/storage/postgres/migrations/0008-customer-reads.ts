import { type Kysely, sql } from 'kysely';

/**
 * What a customer may read holds in the database too: a role without any right but to read, and policies that show it the rows
 * of the customer that the transaction names. Whoever owns the tables sees and writes all of them as before: no policy is
 * forced on owners, since jobs and operators work for all customers. Roles belong to the whole server, so it may be there.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = [makeRole('meterd_customer'), ...SHARED, ...OWN, ...OF_PARENTS];
  for (const statement of statements) await sql.raw(statement).execute(db);
}

/**
 * Makes a role of the server where there is none yet, and lets the current user take it. Of two databases that do so at once the
 * second may fail, with a duplicate or since its connection does not know the role yet: `migratePostgres` tries that again.
 */
export function makeRole(role: string): string {
  return `DO $$
   BEGIN
     IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${role}') THEN
       BEGIN
         CREATE ROLE ${role} NOLOGIN;
       EXCEPTION
         WHEN insufficient_privilege THEN
           RAISE EXCEPTION 'the role ${role} is missing and % may not make it: have an administrator run CREATE ROLE ${role} NOLOGIN; GRANT ${role} TO %',
             quote_ident(current_user), quote_ident(current_user);
       END;
     END IF;
     IF NOT pg_has_role(current_user, '${role}', 'SET') THEN
       EXECUTE format('GRANT ${role} TO %I WITH INHERIT FALSE, SET TRUE', current_user);
     END IF;
   END $$`;
}

/** The same for everybody, and secret from nobody. */
const SHARED = ['seller', 'tax_rates', 'exchange_rates', 'metrics'].map((table) => {
  return `GRANT SELECT ON ${table} TO meterd_customer`;
});

function show(table: string, condition: string): string[] {
  return [
    `GRANT SELECT ON ${table} TO meterd_customer`,
    `ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY`,
    `CREATE POLICY of_customer ON ${table} FOR SELECT TO meterd_customer USING (${condition})`,
  ];
}

const CUSTOMER = `current_setting('meterd.customer_id', true)`;
const OWN = [
  ...show('customers', `id = ${CUSTOMER}`),
  ...['subscriptions', 'discounts', 'manual_lines', 'invoices', 'credit_notes', 'billing_periods'].flatMap((table) => {
    return show(table, `customer_id = ${CUSTOMER}`);
  }),
];

/** The policies of the parents hold inside these too. A plan may be one customer's alone, with prices that others must not see. */
const OF_PARENTS = [
  ...['invoice_lines', 'invoice_taxes', 'payments'].flatMap((table) => {
    return show(table, `EXISTS (SELECT FROM invoices WHERE invoices.id = ${table}.invoice_id)`);
  }),
  ...['credit_note_lines', 'credit_note_taxes'].flatMap((table) => {
    return show(table, `EXISTS (SELECT FROM credit_notes WHERE credit_notes.id = ${table}.credit_note_id)`);
  }),
  ...show('plan_versions', `EXISTS (SELECT FROM subscriptions WHERE subscriptions.plan_id = plan_versions.plan_id)`),
];
