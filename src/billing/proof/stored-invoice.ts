import type { Kysely } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { isUuid, noInvoice } from '../invoice/read-invoices.ts';

/** An invoice as it is stored, with its input as text: nothing here says yet that it is the input that it was made from. */
export interface StoredInvoice {
  readonly invoiceId: string;
  /** A draft has none. */
  readonly number: string | undefined;
  readonly customerId: string;
  readonly currency: string;
  readonly timeZone: string;
  readonly period: string;
  readonly periodStart: Date;
  readonly periodEnd: Date;
  /** `undefined` where it was made before inputs were kept. */
  readonly inputText: string | undefined;
  /** In hexadecimal. */
  readonly inputHash: string;
  /** When the input was read. */
  readonly computedAt: Date;
  /** When the customer's usage was removed, if it was. */
  readonly erasedAt: Date | undefined;
}

/** One that can be proved. */
export type ProvableInvoice = StoredInvoice & { readonly number: string; readonly inputText: string };

/** @throws CallerFault not_found */
export async function readStoredInvoice(db: Kysely<Database>, idOrNumber: string): Promise<StoredInvoice> {
  const row = await db
    .selectFrom('invoices')
    .innerJoin('customers', 'customers.id', 'customer_id')
    .selectAll('invoices')
    .select('erased_at')
    .where(isUuid(idOrNumber) ? 'invoices.id' : 'number', '=', idOrNumber)
    .executeTakeFirst();
  if (row === undefined) throw noInvoice(idOrNumber);
  return {
    invoiceId: row.id,
    number: row.number ?? undefined,
    customerId: row.customer_id,
    currency: row.currency,
    timeZone: row.time_zone,
    period: row.period,
    periodStart: row.period_start,
    periodEnd: row.period_end,
    inputText: row.input ?? undefined,
    inputHash: row.input_hash.toString('hex'),
    computedAt: row.computed_at,
    erasedAt: row.erased_at ?? undefined,
  };
}

/** @throws CallerFault failed_precondition of a draft, and of an invoice that is older than stored inputs */
export function checkProvable(stored: StoredInvoice): asserts stored is ProvableInvoice {
  const { number, invoiceId, inputText } = stored;
  if (number === undefined) throw unprovable(`${invoiceId} is a draft, which the next run replaces`);
  if (inputText === undefined) throw unprovable(`${number} was made before invoices were stored with their input`);
}

function unprovable(problem: string): CallerFault {
  return new CallerFault('failed_precondition', 'invoice_id', `invoice_id: ${problem}`);
}
