import { create } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import {
  type BillingDetails,
  BillingDetailsSchema,
  type Customer,
  CustomerSchema,
  CustomerService,
  type ErasureReceipt,
  ErasureReceiptSchema,
  TaxTreatment,
} from '../../gen/billing/v1/customers_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { each, enumValue, named, shown, whole } from './values.ts';

/** Without the name of its type, so that it can be laid over a message. */
type Details = Partial<Omit<BillingDetails, '$typeName' | '$unknown'>>;

interface CustomerOptions {
  readonly name?: string;
  readonly currency?: string;
  readonly timeZone?: string;
  readonly anchorDay?: number;
  readonly legalName?: string;
  readonly address?: string[];
  readonly country?: string;
  readonly taxId?: string;
  readonly email?: string;
  readonly taxRegion?: string;
  readonly taxTreatment?: string;
  readonly taxExemptReason?: string;
  readonly pricesIncludeTax?: boolean;
  readonly paymentTermsDays?: number;
}

const COLUMNS: Columns<Customer> = {
  Customer: (row) => row.customerId,
  Name: (row) => row.name,
  Currency: (row) => row.currency,
  'Time zone': (row) => row.timeZone,
  Anchor: (row) => (row.registered ? String(row.anchorDay) : ''),
  Since: (row) => (row.registered ? shown(row.createdAt) : 'not registered'),
  Erased: (row) => shown(row.erasedAt),
};
const WHOLE: Columns<Customer> = {
  ...COLUMNS,
  'Legal name': (row) => row.details?.legalName ?? '',
  Address: (row) => row.details?.addressLines.join(', ') ?? '',
  Country: (row) => row.details?.country ?? '',
  'Tax id': (row) => row.details?.taxId ?? '',
  'E-mail': (row) => row.details?.email ?? '',
  'Tax region': (row) => row.details?.taxRegion ?? '',
  'Tax treatment': (row) => named(TaxTreatment, row.details?.taxTreatment ?? TaxTreatment.UNSPECIFIED),
  'Prices include tax': (row) => (row.details?.pricesIncludeTax === true ? 'yes' : 'no'),
  'Payment terms': (row) => `${row.details?.paymentTermsDays ?? 30} days`,
};
const ERASURES: Columns<ErasureReceipt> = {
  Customer: (row) => row.customerId,
  Requested: (row) => shown(row.requestedAt),
  Completed: (row) => shown(row.completedAt),
  By: (row) => row.requestedBy,
  Reason: (row) => row.reason,
  Removed: (row) => countsOf(row.removed),
  Kept: (row) => countsOf(row.kept),
};

/** `meterd customer …`: who is billed. */
export function customerCommands(program: Command, session: Session): void {
  const group = program.command('customer').description('who is billed');
  withDetails(group.command('create <customer>').description('register a customer'))
    .requiredOption('--name <name>')
    .requiredOption('--currency <code>', 'ISO 4217, e.g. EUR')
    .action(async (customerId: string, options: CustomerOptions) => {
      const customers = await session.client(CustomerService);
      const { name = '', currency = '', timeZone = '', anchorDay = 0 } = options;
      const details = detailsFrom(options);
      const { customer } = await customers.createCustomer({ customerId, name, currency, timeZone, anchorDay, details });
      session.show(CustomerSchema, customer, WHOLE);
    });
  withDetails(group.command('update <customer>').description('change what invoices say from the next one on'))
    .option('--name <name>')
    .action(async (customerId: string, options: CustomerOptions) => {
      const customers = await session.client(CustomerService);
      const { customer: before } = await customers.getCustomer({ customerId });
      const { name = '', timeZone = '', anchorDay = 0 } = options;
      // Details are replaced as a whole, so what was not said has to be sent as it was.
      const details = Object.assign(before?.details ?? create(BillingDetailsSchema), detailsFrom(options));
      const { customer } = await customers.updateCustomer({ customerId, name, timeZone, anchorDay, details });
      session.show(CustomerSchema, customer, WHOLE);
    });
  readingCommands(group, session);
  group
    .command('erase <customer>')
    .description('remove what the law does not want kept; invoices, credit notes, the ledger and the audit trail stay')
    .requiredOption('--reason <text>')
    .action(async (customerId: string, { reason }: { reason: string }) => {
      await session.confirm(`This removes all usage and names of "${customerId}" for ever`);
      const customers = await session.client(CustomerService);
      const { receipt } = await customers.eraseCustomer({ customerId, reason });
      session.show(ErasureReceiptSchema, receipt, ERASURES);
    });
}

function readingCommands(group: Command, session: Session): void {
  group
    .command('show <customer>')
    .description('one customer with all details')
    .action(async (customerId: string) => {
      const { customer } = await (await session.client(CustomerService)).getCustomer({ customerId });
      session.show(CustomerSchema, customer, WHOLE);
    });
  group
    .command('list')
    .description('all customers')
    .option('--unregistered', 'only those that have usage but are not registered')
    .action(async ({ unregistered = false }: { unregistered?: boolean }) => {
      const customers = await session.client(CustomerService);
      await session.list({
        schema: CustomerSchema,
        ask: (page) => customers.listCustomers({ ...page, unregisteredOnly: unregistered }),
        rows: (answer) => answer.customers,
        columns: COLUMNS,
      });
    });
  group
    .command('erasures')
    .description('receipts of what was erased')
    .action(async () => {
      const customers = await session.client(CustomerService);
      await session.list({
        schema: ErasureReceiptSchema,
        ask: (page) => customers.listErasures(page),
        rows: (answer) => answer.receipts,
        columns: ERASURES,
      });
    });
}

function withDetails(command: Command): Command {
  return command
    .option('--time-zone <zone>', 'IANA, e.g. Europe/Berlin')
    .option('--anchor-day <day>', 'day of the month on which billing periods start', whole)
    .option('--legal-name <name>')
    .option('--address <line>', 'a line of the address; may be given several times', each)
    .option('--country <code>', 'ISO 3166-1, two letters')
    .option('--tax-id <id>')
    .option('--email <address>')
    .option('--tax-region <region>', 'whose tax rates apply')
    .option('--tax-treatment <treatment>', 'standard, reverse_charge or exempt')
    .option('--tax-exempt-reason <text>')
    .option('--prices-include-tax')
    .option('--no-prices-include-tax', 'as it is unless said otherwise')
    .option('--payment-terms-days <days>', 'from final to due', whole);
}

/** Only what was said. */
function detailsFrom(options: CustomerOptions): Details {
  const { legalName, address, country, taxId, email, taxRegion, taxTreatment, taxExemptReason } = options;
  const { pricesIncludeTax, paymentTermsDays } = options;
  return {
    ...(legalName === undefined ? {} : { legalName }),
    ...(address === undefined ? {} : { addressLines: address }),
    ...(country === undefined ? {} : { country }),
    ...(taxId === undefined ? {} : { taxId }),
    ...(email === undefined ? {} : { email }),
    ...(taxRegion === undefined ? {} : { taxRegion }),
    ...(taxTreatment === undefined ? {} : { taxTreatment: enumValue(TaxTreatment, taxTreatment, '--tax-treatment') }),
    ...(taxExemptReason === undefined ? {} : { taxExemptReason }),
    ...(pricesIncludeTax === undefined ? {} : { pricesIncludeTax }),
    ...(paymentTermsDays === undefined ? {} : { paymentTermsDays }),
  };
}

function countsOf(rows: Readonly<Record<string, bigint>>): string {
  return Object.entries(rows)
    .map(([table, count]) => `${table} ${count}`)
    .join(', ');
}
