import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { VerifyInvoiceRequest, VerifyInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { readStoredInvoice } from '../billing/proof/stored-invoice.ts';
import { type ProvingStore, verifyInvoice as verify } from '../billing/proof/verify-invoice.ts';
import { checkInScope } from './invoice-in-scope.ts';
import type { Readable } from './readable-store.ts';

export function verifyInvoice(readable: Readable, store: ProvingStore) {
  return async (
    request: VerifyInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof VerifyInvoiceResponseSchema>> => {
    const { customerId, invoiceId } = await readStoredInvoice(readable(context).db, request.invoiceId);
    checkInScope(context, customerId, request.invoiceId);
    // The proof needs the ledger and the audit trail, which no customer may read; it tells nothing of them but that they fit.
    const { proved, steps } = await verify(store, invoiceId, context.signal);
    return { proved, steps: steps.map((step) => ({ ...step })) };
  };
}
