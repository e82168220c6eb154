import type { BillingTables } from './schema-billing.ts';
import type { ControlTables } from './schema-control.ts';

/** Every table in Postgres, as the migrations make them. */
export type Database = ControlTables & BillingTables;
