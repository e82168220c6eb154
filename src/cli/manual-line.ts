import { randomUUID } from 'node:crypto';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { InvoiceService, type ManualLine, ManualLineSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { instant, shown } from './values.ts';

interface LineOptions {
  readonly description: string;
  readonly quantity: string;
  readonly unit: string;
  readonly unitPrice: string;
  readonly at: Timestamp;
  readonly notTaxable?: boolean;
  readonly idempotencyKey?: string;
}

const COLUMNS: Columns<ManualLine> = {
  Id: (row) => row.manualLineId,
  Customer: (row) => row.customerId,
  Day: (row) => shown(row.at),
  Description: (row) => row.description,
  Quantity: (row) => row.quantity,
  Unit: (row) => row.unit,
  Price: (row) => row.unitPrice,
  Taxable: (row) => (row.notTaxable ? 'no' : 'yes'),
};

/** `meterd invoice …-line`: lines of an operator's own. */
export function manualLineCommands(group: Command, session: Session): void {
  group
    .command('add-line <customer>')
    .description('put a line of your own on the invoice that its day lies in, or on the next one that is not final')
    .requiredOption('--description <text>')
    .requiredOption('--quantity <decimal>', 'may be below 0')
    .requiredOption('--unit-price <decimal>')
    .requiredOption('--at <instant>', '', instant)
    .option('--unit <unit>', '', '')
    .option('--not-taxable')
    .option('--idempotency-key <key>', 'the same again answers the same line')
    .action(async (customerId: string, options: LineOptions) => {
      const { idempotencyKey = randomUUID(), notTaxable = false, ...rest } = options;
      const invoices = await session.client(InvoiceService);
      const { line } = await invoices.addManualLine({ idempotencyKey, line: { ...rest, customerId, notTaxable } });
      session.show(ManualLineSchema, line, COLUMNS);
    });
  group
    .command('remove-line <line>')
    .description('take such a line away again, while no final invoice has it')
    .action(async (manualLineId: string) => {
      await session.confirm(`This removes manual line ${manualLineId}`);
      await (await session.client(InvoiceService)).removeManualLine({ manualLineId });
    });
  group
    .command('list-lines')
    .description('those that are on no final invoice yet')
    .option('--customer <customer>', '', '')
    .action(async ({ customer: customerId }: { customer: string }) => {
      const invoices = await session.client(InvoiceService);
      await session.list({
        schema: ManualLineSchema,
        ask: (page) => invoices.listManualLines({ ...page, customerId }),
        rows: (answer) => answer.lines,
        columns: COLUMNS,
      });
    });
}
