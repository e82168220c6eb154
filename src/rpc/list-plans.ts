import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListPlansRequest, ListPlansResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { listPlans as list } from '../billing/plans/publish-plan.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import { toPlanMessage } from './plan-message.ts';

/** Version and plan: versions hold no colon, so the first one parts the two. */
const TOKEN = /^\d{1,9}:.+$/su;

export function listPlans({ db }: BillingStore) {
  return async (request: ListPlansRequest): Promise<MessageInitShape<typeof ListPlansResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const token = fromPageToken(request.pageToken, TOKEN);
    const after = token === undefined ? undefined : parseToken(token);
    const rows = await list(db, { planId: request.planId || undefined, after }, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, ({ planId, version }) => `${version}:${planId}`);
    return { plans: page.map(toPlanMessage), nextPageToken };
  };
}

function parseToken(token: string): { planId: string; version: number } {
  const colon = token.indexOf(':');
  return { version: Number(token.slice(0, colon)), planId: token.slice(colon + 1) };
}
