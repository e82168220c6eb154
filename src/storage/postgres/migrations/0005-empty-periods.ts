import { type Kysely, sql } from 'kysely';

/** When a period was last computed, so that usage which came after is seen where there was nothing to bill before. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw('ALTER TABLE billing_periods ADD COLUMN computed_at timestamptz').execute(db);
  const comment = 'Before anything was read of what it was settled with.';
  await sql.raw(`COMMENT ON COLUMN billing_periods.computed_at IS '${comment}'`).execute(db);
  await sql
    .raw('CREATE INDEX billing_periods_of_customer ON billing_periods (customer_id, period_end) WHERE settled')
    .execute(db);
}
