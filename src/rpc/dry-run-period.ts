import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DryRunPeriodRequest, DryRunPeriodResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { dryRunPeriod as dryRun } from '../billing/invoice/preview.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** As many as are read at once. */
const CUSTOMERS_MAX = 999;

export function dryRunPeriod(store: InvoicingStore) {
  return async (
    request: DryRunPeriodRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof DryRunPeriodResponseSchema>> => {
    const size = Math.min(pageSize(request.pageSize, 100, 1000), CUSTOMERS_MAX);
    const after = fromPageToken(request.pageToken, /^.+$/su) ?? '';
    const outcomes = await dryRun(store, request.period, after, size + 1, context.signal);
    const { page, nextPageToken } = pageOf(outcomes, size, (outcome) => outcome.customerId);
    return { outcomes: page, nextPageToken };
  };
}
