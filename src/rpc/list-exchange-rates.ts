import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListExchangeRatesRequest, ListExchangeRatesResponseSchema } from '../../gen/billing/v1/rates_pb.ts';
import { type ExchangeRate, listExchangeRates as list } from '../billing/rates/exchange-rates.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import { toExchangeRateMessage } from './rate-message.ts';

/** Both currencies and the day. */
const TOKEN = /^([A-Z]{3}) ([A-Z]{3}) (\d{4}-\d{2}-\d{2})$/;

export function listExchangeRates({ db }: BillingStore) {
  return async (
    request: ListExchangeRatesRequest,
  ): Promise<MessageInitShape<typeof ListExchangeRatesResponseSchema>> => {
    const { fromCurrency, toCurrency } = request;
    const size = pageSize(request.pageSize, 100, 1000);
    const after = parseToken(fromPageToken(request.pageToken, TOKEN));
    const filter = { fromCurrency: fromCurrency || undefined, toCurrency: toCurrency || undefined, after };
    const rows = await list(db, filter, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (row) => `${row.fromCurrency} ${row.toCurrency} ${row.day}`);
    return { rates: page.map(toExchangeRateMessage), nextPageToken };
  };
}

function parseToken(token: string | undefined): Pick<ExchangeRate, 'fromCurrency' | 'toCurrency' | 'day'> | undefined {
  const [, fromCurrency, toCurrency, day] = TOKEN.exec(token ?? '') ?? [];
  if (fromCurrency === undefined || toCurrency === undefined || day === undefined) return undefined;
  return { fromCurrency, toCurrency, day };
}
