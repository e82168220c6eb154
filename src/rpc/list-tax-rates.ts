import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListTaxRatesRequest, ListTaxRatesResponseSchema } from '../../gen/billing/v1/rates_pb.ts';
import { listTaxRates as list, type TaxRate } from '../billing/rates/tax-rates.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import { toTaxRateMessage } from './rate-message.ts';

/** Region, name and Unix milliseconds: ids hold no control characters, so NULs part them. */
const TOKEN = /^([^\0]+)\0([^\0]+)\0(\d{1,15})$/su;

export function listTaxRates({ db }: BillingStore) {
  return async (request: ListTaxRatesRequest): Promise<MessageInitShape<typeof ListTaxRatesResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const after = parseToken(fromPageToken(request.pageToken, TOKEN));
    const rows = await list(db, { region: request.region || undefined, after }, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, ({ region, name, validFrom }) => {
      return `${region}\0${name}\0${validFrom.getTime()}`;
    });
    return { rates: page.map(toTaxRateMessage), nextPageToken };
  };
}

function parseToken(token: string | undefined): Pick<TaxRate, 'region' | 'name' | 'validFrom'> | undefined {
  const [, region, name, fromMs] = TOKEN.exec(token ?? '') ?? [];
  return region === undefined || name === undefined ? undefined : { region, name, validFrom: new Date(Number(fromMs)) };
}
