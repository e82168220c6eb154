import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListSubscriptionsRequest, ListSubscriptionsResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import type { Subscription } from '../billing/plans/price-spans.ts';
import { listSubscriptions as list } from '../billing/plans/subscribe.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import { toSubscriptionMessage } from './subscription-message.ts';

/** Unix milliseconds and customer. */
const TOKEN = /^(\d{1,15}):(.+)$/su;

export function listSubscriptions({ db }: BillingStore) {
  return async (
    request: ListSubscriptionsRequest,
  ): Promise<MessageInitShape<typeof ListSubscriptionsResponseSchema>> => {
    const { customerId, planId } = request;
    const size = pageSize(request.pageSize, 100, 1000);
    const after = parseToken(fromPageToken(request.pageToken, TOKEN));
    const filter = { customerId: customerId || undefined, planId: planId || undefined, after };
    const rows = await list(db, filter, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (row) => `${row.startsAt.getTime()}:${row.customerId}`);
    return { subscriptions: page.map(toSubscriptionMessage), nextPageToken };
  };
}

function parseToken(token: string | undefined): Pick<Subscription, 'customerId' | 'startsAt'> | undefined {
  const [, startMs, customerId] = TOKEN.exec(token ?? '') ?? [];
  return customerId === undefined ? undefined : { customerId, startsAt: new Date(Number(startMs)) };
}
