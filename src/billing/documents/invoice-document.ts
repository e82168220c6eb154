import type { Kysely } from 'kysely';
import type { Database } from '../../storage/postgres/schema.ts';
import type { Invoice } from '../invoice/invoice.ts';
import type { CreditNote } from '../invoice/read-credit-notes.ts';
import { viewCreditNote } from './credit-note-view.ts';
import { renderCsv } from './csv.ts';
import { type NamedInvoices, viewInvoice } from './invoice-view.ts';
import { renderCreditNoteUbl, renderUbl } from './ubl.ts';

export interface InvoiceDocument {
  readonly content: Uint8Array;
  /** E.g. "application/pdf". */
  readonly mediaType: string;
  /** E.g. "INV-000001.pdf". */
  readonly fileName: string;
}

export type DocumentKind = 'pdf' | 'csv' | 'ubl';

/**
 * @throws CallerFault failed_precondition where UBL cannot say what the invoice says; Error where none of the fonts has one of the
 *   characters of a PDF
 */
export async function invoiceDocument(
  db: Kysely<Database>,
  invoice: Invoice,
  kind: DocumentKind,
): Promise<InvoiceDocument> {
  const named = await namedInvoices(db, invoice);
  switch (kind) {
    case 'pdf': {
      // Typst takes some 27 MB, which processes that make no documents need not have.
      const { renderPdf } = await import('./pdf.ts');
      // A draft has no time of its own that stays the same.
      const content = renderPdf(viewInvoice(invoice, named), invoice.finalizedAt ?? invoice.periodEnd);
      return { content, mediaType: 'application/pdf', fileName: fileNameOf(nameOf(invoice), 'pdf') };
    }
    case 'csv':
      return textDocument(invoice, renderCsv(invoice, named), 'text/csv; charset=utf-8', 'csv');
    case 'ubl':
      return textDocument(invoice, await renderUbl(invoice, named), 'application/xml', 'xml');
  }
}

/**
 * @param invoice the one that the credit note credits
 * @throws as `invoiceDocument`
 */
export async function creditNoteDocument(
  note: CreditNote,
  invoice: Invoice,
  kind: 'pdf' | 'ubl',
): Promise<InvoiceDocument> {
  if (kind === 'ubl') {
    const content = Buffer.from(await renderCreditNoteUbl(note, invoice));
    return { content, mediaType: 'application/xml', fileName: fileNameOf(note.number, 'xml') };
  }
  const { renderPdf } = await import('./pdf.ts');
  const content = renderPdf(viewCreditNote(note, invoice), note.issuedAt);
  return { content, mediaType: 'application/pdf', fileName: fileNameOf(note.number, 'pdf') };
}

/** A document of this text in UTF-8. */
export function textDocument(invoice: Invoice, text: string, mediaType: string, extension: string): InvoiceDocument {
  return { content: Buffer.from(text), mediaType, fileName: fileNameOf(nameOf(invoice), extension) };
}

/** The number or, of a draft, the id. */
function nameOf({ number, invoiceId }: Invoice): string {
  return number ?? invoiceId;
}

/** What a file system may take for more than a name becomes "_". */
function fileNameOf(name: string, extension: string): string {
  return `${name.replaceAll(/[^\w.-]/g, '_')}.${extension}`;
}

/** Those that the invoice refers to. */
async function namedInvoices(db: Kysely<Database>, invoice: Invoice): Promise<NamedInvoices> {
  const referred = [invoice.replacesInvoiceId, ...invoice.lines.map((line) => line.adjustsInvoiceId)];
  const ids = [...new Set(referred.filter((id) => id !== undefined))];
  if (ids.length === 0) return new Map();
  const rows = await db.selectFrom('invoices').select(['id', 'number', 'period']).where('id', 'in', ids).execute();
  return new Map(rows.map(({ id, number, period }) => [id, { number: number ?? id, period }]));
}
