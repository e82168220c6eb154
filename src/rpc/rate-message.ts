import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ExchangeRateSchema, TaxRateSchema } from '../../gen/billing/v1/rates_pb.ts';
import { formatDecimal } from '../billing/money.ts';
import type { ExchangeRate } from '../billing/rates/exchange-rates.ts';
import type { TaxRate } from '../billing/rates/tax-rates.ts';

export function toTaxRateMessage(rate: TaxRate): MessageInitShape<typeof TaxRateSchema> {
  const { region, name, percent, validFrom } = rate;
  return { region, name, percent: formatDecimal(percent), validFrom: timestampFromDate(validFrom) };
}

export function toExchangeRateMessage(rate: ExchangeRate): MessageInitShape<typeof ExchangeRateSchema> {
  return { ...rate, rate: formatDecimal(rate.rate) };
}
