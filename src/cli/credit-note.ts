import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import {
  type CreditNote,
  type CreditNoteLine,
  CreditNoteSchema,
  CreditNoteService,
} from '../../gen/billing/v1/credit_notes_pb.ts';
import { DocumentFormat } from '../../gen/billing/v1/invoices_pb.ts';
import { BadUsage, type Session } from './session.ts';
import { type Columns, record, table } from './table.ts';
import { each, enumValue, shown } from './values.ts';

interface CreateOptions {
  readonly reason: string;
  readonly line: string[];
  readonly idempotencyKey?: string;
}

const COLUMNS: Columns<CreditNote> = {
  Number: (row) => row.number,
  Id: (row) => row.creditNoteId,
  Invoice: (row) => row.invoiceNumber,
  Customer: (row) => row.customerId,
  Issued: (row) => shown(row.issuedAt),
  Net: (row) => row.net,
  Tax: (row) => row.tax,
  Total: (row) => row.total,
  Currency: (row) => row.currency,
  Reason: (row) => row.reason,
};
const LINES: Columns<CreditNoteLine> = {
  'Invoice line': (row) => String(row.invoiceLine),
  Description: (row) => row.description,
  Amount: (row) => row.amount,
};

/** `meterd credit-note …`: what is taken back of invoices. */
export function creditNoteCommands(program: Command, session: Session): void {
  const save = async (creditNoteId: string, format: DocumentFormat, out: string): Promise<void> => {
    const creditNotes = await session.client(CreditNoteService);
    await session.save(out, (await creditNotes.getCreditNoteDocument({ creditNoteId, format })).content);
  };
  const group = program.command('credit-note').description('what is taken back of invoices');
  group
    .command('create <invoice>')
    .description('credit a final invoice: the lines that are named, or all that is left of it')
    .requiredOption('--reason <text>')
    .option('--line <line=amount>', 'of the line with this number, from 1; may be given several times', each, [])
    .option('--idempotency-key <key>', 'the same again answers the same credit note')
    .action(async (invoiceId: string, { reason, line, idempotencyKey = randomUUID() }: CreateOptions) => {
      const lines = line.map(lineFrom);
      await session.confirm(`This credits ${lines.length === 0 ? 'all that is left of ' : ''}invoice ${invoiceId}`);
      const creditNotes = await session.client(CreditNoteService);
      const { creditNote } = await creditNotes.createCreditNote({ idempotencyKey, invoiceId, reason, lines });
      session.show(CreditNoteSchema, creditNote, creditNoteText);
    });
  group
    .command('show <credit-note>')
    .description('by its id')
    .action(async (creditNoteId: string) => {
      const { creditNote } = await (await session.client(CreditNoteService)).getCreditNote({ creditNoteId });
      session.show(CreditNoteSchema, creditNote, creditNoteText);
    });
  group
    .command('pdf <credit-note>')
    .description('save it as a PDF, by its id')
    .requiredOption('--out <file>')
    .action((creditNoteId: string, { out }: { out: string }) => save(creditNoteId, DocumentFormat.PDF, out));
  group
    .command('document <credit-note>')
    .description('save it in another format, by its id')
    .requiredOption('--format <format>', 'pdf or ubl')
    .requiredOption('--out <file>')
    .action((creditNoteId: string, { format, out }: { format: string; out: string }) => {
      return save(creditNoteId, enumValue(DocumentFormat, format, '--format'), out);
    });
  group
    .command('list')
    .description('newest first')
    .option('--customer <customer>', '', '')
    .option('--invoice <id>', '', '')
    .action(async ({ customer: customerId, invoice: invoiceId }: { customer: string; invoice: string }) => {
      const creditNotes = await session.client(CreditNoteService);
      await session.list({
        schema: CreditNoteSchema,
        ask: (page) => creditNotes.listCreditNotes({ ...page, customerId, invoiceId }),
        rows: (answer) => answer.creditNotes,
        columns: COLUMNS,
      });
    });
}

function lineFrom(text: string): { invoiceLine: number; amount: string } {
  const [, line, amount] = /^(\d{1,6})=(-?[\d.]+)$/.exec(text) ?? [];
  if (line === undefined || amount === undefined) throw new BadUsage(`--line: "${text}" is not such as 1=9.90`);
  return { invoiceLine: Number(line), amount };
}

function creditNoteText(note: CreditNote): string {
  return `${table(LINES, note.lines)}\n${record(COLUMNS, note)}`;
}
