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

type MeteredCustomers = Pick<UsageForBilling, 'meteredCustomers'>;

type CustomerMessage = MessageInitShape<typeof CustomerSchema> & { readonly customerId: string };

/** Registered customers and those that have usage without being registered, in one order: by id. */
export function listCustomers(store: BillingStore, usage: MeteredCustomers) {
  return async (
    request: ListCustomersRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListCustomersResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const after = fromPageToken(request.pageToken, /^.+$/su) ?? '';
    const limit = size + 1;
    const registered = request.unregisteredOnly ? [] : await listRegistered(store.db, after, limit);
    // With so many registered ones, the page ends with the last of them or before.
    const until = registered.length === limit ? registered.at(-1)?.customerId : undefined;
    const unregistered = await listUnregistered(store, usage, { after, until, limit, signal: context.signal });
    const both: CustomerMessage[] = [
      ...unregistered.map((customerId) => ({ customerId, registered: false })),
      ...registered.map((customer) => ({ ...toCustomerMessage(customer), customerId: customer.customerId })),
    ];
    const ordered = both.toSorted((a, b) => compareBytes(a.customerId, b.customerId));
    const { page, nextPageToken } = pageOf(ordered, size, (customer) => customer.customerId);
    return { customers: page, nextPageToken };
  };
}

/** Those up to `until`. Goes on until `limit` are found: most of those that have usage are registered. */
async function listUnregistered(
  store: BillingStore,
  usage: MeteredCustomers,
  page: {
    readonly after: string;
    readonly until: string | undefined;
    readonly limit: number;
    readonly signal: AbortSignal;
  },
): Promise<string[]> {
  const found: string[] = [];
  for (let after = page.after; found.length < page.limit;) {
    const metered = await usage.meteredCustomers(after, 1000, page.signal);
    const known = await registeredAmong(store.db, metered);
    found.push(...metered.filter((customerId) => !known.has(customerId)));
    const last = metered.at(-1);
    if (last === undefined || (page.until !== undefined && compareBytes(last, page.until) >= 0)) break;
    after = last;
  }
  return found.slice(0, page.limit);
}

/** Both engines order text by its bytes. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
