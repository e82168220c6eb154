import { expect, it } from 'vitest';
import { invoiceDocument } from '../../../src/billing/documents/invoice-document.ts';
import { postgresForTest } from '../../database.ts';
import { aLine, anInvoice } from './an-invoice.ts';

const { db } = await postgresForTest();
const start = (content: Uint8Array): string => Buffer.from(content.subarray(0, 5)).toString();

it.each([
  ['pdf', 'application/pdf', 'INV-000007.pdf', '%PDF-'],
  ['csv', 'text/csv; charset=utf-8', 'INV-000007.csv', 'invoi'],
  ['ubl', 'application/xml', 'INV-000007.xml', '<?xml'],
] as const)('an invoice can be had as %s', async (kind, mediaType, fileName, begins) => {
  const document = await invoiceDocument(db, anInvoice(), kind);
  expect(document).toMatchObject({ mediaType, fileName });
  expect(start(document.content)).toBe(begins);
});

it('names its file after the id where it has no number, and of nothing but safe characters', async () => {
  const draft = await invoiceDocument(db, anInvoice({ state: 'draft', number: undefined }), 'csv');
  expect(draft.fileName).toBe('019a0000-0000-7000-8000-000000000001.csv');
  const odd = await invoiceDocument(db, anInvoice({ number: '../A B/1' }), 'csv');
  expect(odd.fileName).toBe('.._A_B_1.csv');
});

it('shows the id of an invoice that is not there', async () => {
  const id = '019a0000-0000-7000-8000-0000000000ff';
  const { content } = await invoiceDocument(db, anInvoice({ lines: [aLine({ adjustsInvoiceId: id })] }), 'csv');
  expect(Buffer.from(content).toString()).toContain(`,${id},`);
});
