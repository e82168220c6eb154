import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  DocumentFormat,
  DryRunOutcomeSchema,
  InvoiceSchema,
  InvoiceService,
  InvoiceState,
} from '../../gen/billing/v1/invoices_pb.ts';
import { INVOICES, invoiceText } from './invoice-text.ts';
import { manualLineCommands } from './manual-line.ts';
import type { Session } from './session.ts';
import { enumValue, instant } from './values.ts';
import { verifyCommand } from './verify.ts';

/** `meterd invoice …`: what customers owe. */
export function invoiceCommands(program: Command, session: Session): void {
  const group = program.command('invoice').description('what customers owe');
  listCommand(group, session);
  group
    .command('show <invoice>')
    .description('by its number or id')
    .action(async (invoiceId: string) => {
      const { invoice } = await (await session.client(InvoiceService)).getInvoice({ invoiceId });
      session.show(InvoiceSchema, invoice, invoiceText);
    });
  group
    .command('preview <customer>')
    .description('a period as it would be invoiced now')
    .option('--period <month>', 'the running one where left out', '')
    .action(async (customerId: string, { period }: { period: string }) => {
      const { invoice } = await (await session.client(InvoiceService)).previewInvoice({ customerId, period });
      session.show(InvoiceSchema, invoice, invoiceText);
    });
  group
    .command('dry-run <period>')
    .description('what closing a period would do with each customer')
    .action(async (period: string) => {
      const invoices = await session.client(InvoiceService);
      await session.list({
        schema: DryRunOutcomeSchema,
        ask: (page) => invoices.dryRunPeriod({ ...page, period }),
        rows: (answer) => answer.outcomes,
        columns: {
          Customer: (row) => row.customerId,
          Currency: (row) => row.currency,
          Total: (row) => row.total,
          Lines: (row) => String(row.lines),
          Problem: (row) => row.problem,
        },
      });
    });
  documentCommands(group, session);
  takingBackCommands(group, session);
  manualLineCommands(group, session);
  verifyCommand(group, session);
}

interface ListOptions {
  readonly customer: string;
  readonly period: string;
  readonly state?: string;
  readonly dueBefore?: Timestamp;
}

function listCommand(group: Command, session: Session): void {
  group
    .command('list')
    .description('all invoices, newest period first')
    .option('--customer <customer>', '', '')
    .option('--period <month>', 'e.g. 2026-09', '')
    .option('--state <state>', 'draft, final, paid or void')
    .option('--due-before <instant>', 'only what is due by then and not paid', instant)
    .action(async ({ customer: customerId, period, state, dueBefore }: ListOptions) => {
      const invoices = await session.client(InvoiceService);
      const filter = {
        customerId,
        period,
        state: state === undefined ? InvoiceState.UNSPECIFIED : enumValue(InvoiceState, state, '--state'),
        ...(dueBefore === undefined ? {} : { dueBefore }),
      };
      await session.list({
        schema: InvoiceSchema,
        ask: (page) => invoices.listInvoices({ ...page, ...filter }),
        rows: (answer) => answer.invoices,
        columns: INVOICES,
      });
    });
}

function documentCommands(group: Command, session: Session): void {
  const save = async (invoiceId: string, format: DocumentFormat, out: string): Promise<void> => {
    const invoices = await session.client(InvoiceService);
    await session.save(out, (await invoices.getInvoiceDocument({ invoiceId, format })).content);
  };
  group
    .command('pdf <invoice>')
    .description('save it as a PDF')
    .requiredOption('--out <file>')
    .action((invoiceId: string, { out }: { out: string }) => save(invoiceId, DocumentFormat.PDF, out));
  group
    .command('document <invoice>')
    .description('save it in another format')
    .requiredOption('--format <format>', 'pdf, json, csv or ubl')
    .requiredOption('--out <file>')
    .action((invoiceId: string, { format, out }: { format: string; out: string }) => {
      return save(invoiceId, enumValue(DocumentFormat, format, '--format'), out);
    });
}

function takingBackCommands(group: Command, session: Session): void {
  group
    .command('void <invoice>')
    .description('take a final invoice back whole; its number stays used')
    .requiredOption('--reason <text>')
    .action(async (invoiceId: string, { reason }: { reason: string }) => {
      await session.confirm(`This voids invoice ${invoiceId}`);
      const { invoice } = await (await session.client(InvoiceService)).voidInvoice({ invoiceId, reason });
      session.show(InvoiceSchema, invoice, INVOICES);
    });
  group
    .command('reissue <invoice>')
    .description('void it and make its period final anew, with a new number')
    .requiredOption('--reason <text>')
    .action(async (invoiceId: string, { reason }: { reason: string }) => {
      await session.confirm(`This voids invoice ${invoiceId} and makes a new one`);
      const { invoice } = await (await session.client(InvoiceService)).reissueInvoice({ invoiceId, reason });
      session.show(InvoiceSchema, invoice, invoiceText);
    });
}
