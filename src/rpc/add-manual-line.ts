import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AddManualLineRequest, AddManualLineResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { addManualLine as add } from '../billing/invoice/manual-lines.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toManualLineMessage } from './manual-line-message.ts';

export function addManualLine(store: BillingStore) {
  return async (
    request: AddManualLineRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof AddManualLineResponseSchema>> => {
    const { idempotencyKey, line } = request;
    if (line === undefined) throw new CallerFault('invalid_argument', 'line', 'line is missing');
    const { customerId, description, quantity, unit, unitPrice, notTaxable } = line;
    const at = requireDate('line.at', line.at);
    const asked = { idempotencyKey, customerId, description, quantity, unit, unitPrice, at, taxable: !notTaxable };
    return { line: toManualLineMessage(await add(store, asked, callerOf(context).keyId)) };
  };
}
