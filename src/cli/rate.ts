import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  type ExchangeRate,
  ExchangeRateSchema,
  RateService,
  type TaxRate,
  TaxRateSchema,
} from '../../gen/billing/v1/rates_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { instant, shown } from './values.ts';

const TAXES: Columns<TaxRate> = {
  Region: (row) => row.region,
  Tax: (row) => row.name,
  Percent: (row) => row.percent,
  'Valid from': (row) => shown(row.validFrom),
};
const EXCHANGES: Columns<ExchangeRate> = {
  From: (row) => row.fromCurrency,
  To: (row) => row.toCurrency,
  Day: (row) => row.day,
  Rate: (row) => row.rate,
  Source: (row) => row.source,
};

/** `meterd rate …`: taxes and exchange rates. */
export function rateCommands(program: Command, session: Session): void {
  const group = program.command('rate').description('taxes and exchange rates');
  group
    .command('put-tax <region> <name> <percent>')
    .description('applies to periods that end after --from')
    .requiredOption('--from <instant>', '', instant)
    .action(async (region: string, name: string, percent: string, { from: validFrom }: { from: Timestamp }) => {
      const rates = await session.client(RateService);
      const { rate } = await rates.putTaxRate({ rate: { region, name, percent, validFrom } });
      session.show(TaxRateSchema, rate, TAXES);
    });
  group
    .command('put-exchange <from> <to> <day> <rate>')
    .description('one unit of the first currency in the second, as of a day such as 2026-09-30')
    .requiredOption('--source <who>', 'who says so, e.g. ECB')
    .action(async (from: string, to: string, day: string, text: string, { source }: { source: string }) => {
      const rates = await session.client(RateService);
      const wanted = { fromCurrency: from, toCurrency: to, day, rate: text, source };
      const { rate } = await rates.putExchangeRate({ rate: wanted });
      session.show(ExchangeRateSchema, rate, EXCHANGES);
    });
  group
    .command('list-tax')
    .description('all tax rates, or those of a region')
    .option('--region <region>', '', '')
    .action(async ({ region }: { region: string }) => {
      const rates = await session.client(RateService);
      await session.list({
        schema: TaxRateSchema,
        ask: (page) => rates.listTaxRates({ ...page, region }),
        rows: (answer) => answer.rates,
        columns: TAXES,
      });
    });
  group
    .command('list-exchange')
    .description('all exchange rates, or those of currencies')
    .option('--from <currency>', '', '')
    .option('--to <currency>', '', '')
    .action(async ({ from: fromCurrency, to: toCurrency }: { from: string; to: string }) => {
      const rates = await session.client(RateService);
      await session.list({
        schema: ExchangeRateSchema,
        ask: (page) => rates.listExchangeRates({ ...page, fromCurrency, toCurrency }),
        rows: (answer) => answer.rates,
        columns: EXCHANGES,
      });
    });
}
