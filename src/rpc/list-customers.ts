import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  CustomerSchema,
  ListCustomersRequest,
  ListCustomersResponseSchema,
} from '../../gen/billing/v1/customers_pb.ts';
import { listCustomers as listRegistered, registeredAmong } from '../billing/customers.ts';
import type { BillingStore } from '../billing/store.ts';
import type { UsageForBilling } from '../usage/usage-for-billing.ts';
import { toCustomerMessage } from './customer-message.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

type CustomerMessage = MessageInitShape<typeof CustomerSchema> & { readonly customerId: string };

/** Registered customers and those that have usage without being registered, in one order: by id. */
export function listCustomers(store: BillingStore, usage: UsageForBilling) {
  return async (
    request: ListCustomersRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListCustomersResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const after = fromPageToken(request.pageToken, /^.+$/su) ?? '';
    const unregistered = await listUnregistered(store, usage, { after, limit: size + 1, signal: context.signal });
    const registered = request.unregisteredOnly ? [] : await listRegistered(store.db, after, size + 1);
    const both: CustomerMessage[] = [
      ...unregistered.map((customerId) => ({ customerId, registered: false })),
      ...registered.map((customer) => ({ ...toCustomerMessage(customer), customerId: customer.customerId })),
    ];
    const ordered = both.toSorted((a, b) => compareBytes(a.customerId, b.customerId));
    const { page, nextPageToken } = pageOf(ordered, size, (customer) => customer.customerId);
    return { customers: page, nextPageToken };
  };
}

/** Goes on until `limit` are found: most of those that have usage are registered. */
async function listUnregistered(
  store: BillingStore,
  usage: UsageForBilling,
  page: { readonly after: string; readonly limit: number; readonly signal: AbortSignal },
): Promise<string[]> {
  const found: string[] = [];
  for (let after = page.after; found.length < page.limit;) {
    const metered = await usage.meteredCustomers(after, 1000, page.signal);
    const known = await registeredAmong(store.db, metered);
    found.push(...metered.filter((customerId) => !known.has(customerId)));
    const last = metered.at(-1);
    if (last === undefined) break;
    after = last;
  }
  return found.slice(0, page.limit);
}

/** Both engines order text by its bytes. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
