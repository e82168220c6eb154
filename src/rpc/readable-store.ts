import type { HandlerContext } from '@connectrpc/connect';
import type { ClickHouseClient } from '@clickhouse/client';
import type { PostgresPool } from 'kysely';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { customerReads as clickhouseOf } from '../storage/clickhouse/customer-reads.ts';
import { customerReads as postgresOf } from '../storage/postgres/customer-reads.ts';
import { UsageForBilling } from '../usage/usage-for-billing.ts';
import { customerInScope } from './auth.ts';

/** Both engines, as far as the caller may see into them. */
export interface ReadableStore extends InvoicingStore {
  readonly clickhouse: ClickHouseClient;
}

/** What every method reads from that customers may call: nothing else leads it to the engines. */
export type Readable = (context: HandlerContext) => ReadableStore;

/**
 * Under the code's own check, a customer's key reads as its customer alone: PostgreSQL and ClickHouse then show no row of
 * anybody else, whatever they are asked for. The other roles read everything.
 */
export function readableStore(everything: ReadableStore, readers: PostgresPool): Readable {
  return (context) => {
    const customerId = customerInScope(context, '');
    if (customerId === '') return everything;
    const clickhouse = clickhouseOf(everything.clickhouse, customerId);
    return { ...everything, clickhouse, db: postgresOf(readers, customerId), usage: new UsageForBilling(clickhouse) };
  };
}
