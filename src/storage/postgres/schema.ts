import type { BillingTables } from './schema-billing.ts';
import type { ControlTables } from './schema-control.ts';
import type { MoneyTables } from './schema-money.ts';

/** Every table in Postgres, as the migrations make them. */
export type Database = ControlTables & BillingTables & MoneyTables;
