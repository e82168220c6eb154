import { createHandlerContext } from '@connectrpc/connect';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { CustomerService, ListCustomersRequestSchema } from '../../gen/billing/v1/customers_pb.ts';
import { listCustomers } from '../../src/rpc/list-customers.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { postgresForTest } from '../database.ts';

const { db } = await postgresForTest();

/** `c0000` and so on; those that five divides have usage without being registered. */
const metered = Array.from({ length: 3_000 }, (_, index) => `c${String(index).padStart(4, '0')}`);
const isRegistered = (customerId: string) => Number(customerId.slice(1)) % 5 !== 0;
await db
  .insertInto('customers')
  .values(metered.filter(isRegistered).map((id) => ({ id, name: id, currency: 'EUR', created_at: new Date(0) })))
  .execute();

const context = createHandlerContext({
  service: CustomerService,
  method: CustomerService.method.listCustomers,
  protocolName: 'connect',
  requestMethod: 'POST',
  url: 'http://127.0.0.1/',
});

it('lists who is registered and who is not in one order, and looks no further than the page', async () => {
  let asked = 0;
  const meteredCustomers = async (after: string, limit: number): Promise<string[]> => {
    asked++;
    return metered.filter((customerId) => customerId > after).slice(0, limit);
  };
  const list = listCustomers({ db, clock: systemClock }, { meteredCustomers });
  const page = async (changes: object) => list(create(ListCustomersRequestSchema, changes), context);
  const ids: string[] = [];
  for (let pageToken = ''; ;) {
    const answer = await page({ pageSize: 300, pageToken });
    ids.push(...(answer.customers ?? []).map((customer) => customer.customerId ?? ''));
    pageToken = answer.nextPageToken ?? '';
    if (pageToken === '') break;
  }
  expect(ids).toEqual(metered);
  expect(asked).toBeLessThanOrEqual(12);
  const { customers } = await page({ unregisteredOnly: true, pageSize: 1000 });
  expect((customers ?? []).map((customer) => customer.customerId)).toEqual(metered.filter((id) => !isRegistered(id)));
});
