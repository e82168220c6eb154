import type { Command } from 'commander';
import { type Closing, ClosingSchema, InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { shown } from './values.ts';

interface ListOptions {
  readonly period: string;
  readonly customer: string;
  readonly failed?: boolean;
  readonly open?: boolean;
}

const COLUMNS: Columns<Closing> = {
  Period: (row) => row.period,
  Customer: (row) => row.customerId,
  Until: (row) => shown(row.periodEnd),
  Settled: (row) => (row.settled ? 'yes' : 'no'),
  Invoice: (row) => row.invoiceId,
  Failures: (row) => String(row.failures),
  Why: (row) => row.failure,
};

/** `meterd closing …`: where each customer's periods stand. */
export function closingCommands(program: Command, session: Session): void {
  const group = program.command('closing').description("where each customer's periods stand");
  group
    .command('list')
    .description('by period and customer')
    .option('--period <month>', '', '')
    .option('--customer <customer>', '', '')
    .option('--failed', 'the work list of billing day')
    .option('--open', 'only what is not settled')
    .action(async ({ period, customer: customerId, failed = false, open = false }: ListOptions) => {
      const invoices = await session.client(InvoiceService);
      const filter = { period, customerId, failedOnly: failed, openOnly: open };
      await session.list({
        schema: ClosingSchema,
        ask: (page) => invoices.listClosings({ ...page, ...filter }),
        rows: (answer) => answer.closings,
        columns: COLUMNS,
      });
    });
  group
    .command('retry <customer> <period>')
    .description('close one customer now, as the job would')
    .action(async (customerId: string, period: string) => {
      const invoices = await session.client(InvoiceService);
      session.show(ClosingSchema, (await invoices.closeCustomer({ customerId, period })).closing, COLUMNS);
    });
}
