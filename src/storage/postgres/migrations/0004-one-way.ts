import { type Kysely, sql } from 'kysely';

/**
 * Prices in one way only: what was published as four unit prices becomes the content that says the same, and invoices get the
 * name of their period. The triggers that refuse changes are off inside this transaction alone.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of [...PLANS, ...INVOICES, CLOSED]) await sql.raw(statement).execute(db);
}

const CHARGE = `jsonb_build_object('chargeId', meter, 'description', '', 'metric', meter, 'regions', '[]'::jsonb,
  'model', jsonb_build_object('kind', 'unit', 'price', trim_scale(unit_price)::text), 'cap', NULL, 'minimum', NULL)`;

const PLANS = [
  `ALTER TABLE plan_versions DISABLE TRIGGER refuse_change`,
  `UPDATE plan_versions version SET content = jsonb_build_object(
     'name', '', 'allowances', '[]'::jsonb, 'discounts', '[]'::jsonb, 'minimum', NULL, 'commitment', NULL, 'cap', NULL,
     'gapPolicy', 'skip', 'gapSecondsMax', 600, 'charges',
     (SELECT jsonb_agg(${CHARGE} ORDER BY array_position('{cpu,memory,disk_io,network}', meter))
      FROM plan_prices price WHERE (price.plan_id, price.version) = (version.plan_id, version.version)))
   WHERE content IS NULL`,
  `ALTER TABLE plan_versions ENABLE TRIGGER refuse_change`,
  `ALTER TABLE plan_versions ALTER COLUMN content SET NOT NULL`,
  `DROP TABLE plan_prices`,
];

const INVOICES = [
  `ALTER TABLE invoices DISABLE TRIGGER guard_invoice`,
  `UPDATE invoices SET period = to_char(period_start AT TIME ZONE 'UTC', 'YYYY-MM') WHERE period = ''`,
  `ALTER TABLE invoices ENABLE TRIGGER guard_invoice`,
];

/** `billing_periods` says what is closed, customer by customer. */
const CLOSED = 'DROP TABLE closed_periods';
