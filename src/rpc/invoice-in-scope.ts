import type { HandlerContext } from '@connectrpc/connect';
import type { Invoice } from '../billing/invoice/invoice.ts';
import { getInvoice, noInvoice } from '../billing/invoice/read-invoices.ts';
import type { BillingStore } from '../billing/store.ts';
import { customerInScope } from './auth.ts';

/** An invoice that the caller may see. @throws CallerFault not_found */
export async function invoiceInScope(
  { db }: BillingStore,
  context: HandlerContext,
  idOrNumber: string,
): Promise<Invoice> {
  const invoice = await getInvoice(db, idOrNumber);
  checkInScope(context, invoice.customerId, idOrNumber);
  return invoice;
}

/**
 * Somebody else's invoice is as if it were not there: whether it exists is nobody's business.
 * @throws CallerFault not_found
 */
export function checkInScope(context: HandlerContext, customerId: string, idOrNumber: string): void {
  const ownId = customerInScope(context, '');
  if (ownId !== '' && ownId !== customerId) throw noInvoice(idOrNumber);
}
