import { randomUUID } from 'node:crypto';
import { type Timestamp, timestampNow } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { InvoiceSchema, InvoiceService, type Payment, PaymentSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { INVOICES } from './invoice-text.ts';
import { BadUsage, type Session } from './session.ts';
import type { Columns } from './table.ts';
import { instant, shown } from './values.ts';

interface RecordOptions {
  readonly at?: Timestamp;
  readonly method: string;
  readonly reference: string;
  readonly idempotencyKey?: string;
}

const COLUMNS: Columns<Payment> = {
  Id: (row) => row.paymentId,
  Paid: (row) => shown(row.paidAt),
  Amount: (row) => row.amount,
  Method: (row) => row.method,
  Reference: (row) => row.reference,
  Reverses: (row) => row.reversesPaymentId,
  By: (row) => row.recordedBy,
};

/** `meterd payment …`: money that came in. */
export function paymentCommands(program: Command, session: Session): void {
  const group = program.command('payment').description('money that came in');
  group
    .command('record <invoice> <amount>')
    .description('never more than is due; answers the invoice as it then is')
    .option('--at <instant>', 'now where left out', instant)
    .option('--method <text>', 'e.g. "bank transfer"', 'bank transfer')
    .option('--reference <text>', "the bank's", '')
    .option('--idempotency-key <key>', 'the same again answers the same payment; needs --at')
    .action(async (invoiceId: string, amount: string, options: RecordOptions) => {
      if (options.idempotencyKey !== undefined && options.at === undefined) {
        throw new BadUsage('--idempotency-key: say --at too, since "now" is another instant when it is said again');
      }
      const { at: paidAt = timestampNow(), method, reference, idempotencyKey = randomUUID() } = options;
      const invoices = await session.client(InvoiceService);
      const payment = { idempotencyKey, invoiceId, amount, paidAt, method, reference };
      session.show(InvoiceSchema, (await invoices.recordPayment(payment)).invoice, INVOICES);
    });
  group
    .command('reverse <payment>')
    .description('a payment was taken back, e.g. a returned debit')
    .requiredOption('--reason <text>')
    .option('--at <instant>', 'now where left out', instant)
    .action(async (paymentId: string, { reason, at = timestampNow() }: { reason: string; at?: Timestamp }) => {
      await session.confirm(`This reverses payment ${paymentId}`);
      const invoices = await session.client(InvoiceService);
      const { invoice } = await invoices.reversePayment({ paymentId, reversedAt: at, reason });
      session.show(InvoiceSchema, invoice, INVOICES);
    });
  group
    .command('list <invoice>')
    .description('oldest first')
    .action(async (invoiceId: string) => {
      const invoices = await session.client(InvoiceService);
      await session.list({
        schema: PaymentSchema,
        ask: (page) => invoices.listPayments({ ...page, invoiceId }),
        rows: (answer) => answer.payments,
        columns: COLUMNS,
      });
    });
}
