import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { type Discount, DiscountSchema, DiscountService } from '../../gen/billing/v1/discounts_pb.ts';
import { BadUsage, type Session } from './session.ts';
import type { Columns } from './table.ts';
import { each, instant, shown, whole } from './values.ts';

interface DiscountOptions {
  readonly customer: string;
  readonly from: Timestamp;
  readonly until?: Timestamp;
  readonly percent?: string;
  readonly amount?: string;
  readonly description: string;
  readonly charge?: string[];
  readonly order: number;
}

const COLUMNS: Columns<Discount> = {
  Discount: (row) => row.discountId,
  Customer: (row) => row.customerId,
  Percent: (row) => (row.terms?.value.case === 'percent' ? row.terms.value.value : ''),
  Amount: (row) => (row.terms?.value.case === 'amount' ? row.terms.value.value : ''),
  Charges: (row) => row.terms?.chargeIds.join(', ') ?? '',
  From: (row) => shown(row.validFrom),
  Until: (row) => shown(row.validUntil),
  Description: (row) => row.terms?.description ?? '',
};

/** `meterd discount …`: what single customers pay less. */
export function discountCommands(program: Command, session: Session): void {
  const group = program.command('discount').description('what single customers pay less');
  group
    .command('create <discount>')
    .description('holds for every billing period that starts from --from on, before --until')
    .requiredOption('--customer <customer>')
    .requiredOption('--description <text>', 'for the invoice')
    .requiredOption('--from <instant>', '', instant)
    .option('--until <instant>', '', instant)
    .option('--percent <decimal>', 'of what it applies to')
    .option('--amount <decimal>', "a period, in the customer's currency")
    .option('--charge <charge>', 'only on this charge; may be given several times', each)
    .option('--order <number>', 'smaller first', whole, 0)
    .action(async (discountId: string, options: DiscountOptions) => {
      const discounts = await session.client(DiscountService);
      const { discount } = await discounts.createDiscount({ discount: discountFrom(discountId, options) });
      session.show(DiscountSchema, discount, COLUMNS);
    });
  group
    .command('end <discount>')
    .description('set the end of a discount that has none or a later one')
    .requiredOption('--until <instant>', '', instant)
    .action(async (discountId: string, { until: validUntil }: { until: Timestamp }) => {
      const discounts = await session.client(DiscountService);
      session.show(DiscountSchema, (await discounts.endDiscount({ discountId, validUntil })).discount, COLUMNS);
    });
  group
    .command('list')
    .description('all discounts, or those of a customer')
    .option('--customer <customer>', '', '')
    .action(async ({ customer: customerId }: { customer: string }) => {
      const discounts = await session.client(DiscountService);
      await session.list({
        schema: DiscountSchema,
        ask: (page) => discounts.listDiscounts({ ...page, customerId }),
        rows: (answer) => answer.discounts,
        columns: COLUMNS,
      });
    });
}

function discountFrom(discountId: string, options: DiscountOptions) {
  const { customer: customerId, description, order, percent, amount, charge: chargeIds = [], from, until } = options;
  if ((percent === undefined) === (amount === undefined)) throw new BadUsage('say either --percent or --amount');
  const value =
    percent === undefined
      ? ({ case: 'amount', value: amount ?? '' } as const)
      : ({ case: 'percent', value: percent } as const);
  const terms = { description, order, chargeIds, value };
  return { discountId, customerId, terms, validFrom: from, ...(until === undefined ? {} : { validUntil: until }) };
}
