import { getDocumentProxy, extractText } from 'unpdf';
import { describe, expect, it } from 'vitest';
import { viewCreditNote } from '../../../src/billing/documents/credit-note-view.ts';
import { viewInvoice } from '../../../src/billing/documents/invoice-view.ts';
import { renderPdf } from '../../../src/billing/documents/pdf.ts';
import type { Invoice } from '../../../src/billing/invoice/invoice.ts';
import { aCreditNote, aLine, anInvoice } from './an-invoice.ts';

const CREATED = new Date('2026-10-02T00:00:00Z');

function pdfOf(invoice: Invoice): Uint8Array {
  return renderPdf(viewInvoice(invoice, new Map()), CREATED);
}

/** Page by page. */
async function textsOf(pdf: Uint8Array): Promise<string[]> {
  const { text } = await extractText(await getDocumentProxy(new Uint8Array(pdf)));
  return text;
}

/** Each letter once: readers give right-to-left text in the order on paper, with joined forms taken apart. */
function lettersOf(text: string): string[] {
  return [...new Set(text.normalize('NFKC').match(/[^\s\d.:]/gu))];
}

describe('an invoice as PDF', () => {
  it('has everything that a finance department looks for', async () => {
    const [text = ''] = await textsOf(pdfOf(anInvoice()));
    const wanted = ['Invoice', 'INV-000007', 'Cloud GmbH', 'Hauptstraße 1', 'DE123456789', 'Acme Ltd', 'IE7'];
    wanted.push('2026-10-02', '2026-11-01', '2026-09-01 to 2026-09-30', 'CPU', '1,872', 'core-hour', '0.05', '93.60');
    wanted.push('VAT 19 % on 93.60', '17.78', '111.38 EUR', 'IBAN DE02 1203 0000 0000 2020 51', 'Page 1 of 1');
    expect(wanted.filter((each) => !text.includes(each))).toEqual([]);
  });

  it('gives the same bytes again, and others for another invoice', () => {
    const first = pdfOf(anInvoice());
    expect(pdfOf(anInvoice({ number: 'INV-000008' }))).not.toEqual(first);
    expect(pdfOf(anInvoice())).toEqual(first);
  });

  it('repeats the head of the table on every page of 200 lines', async () => {
    const lines = Array.from({ length: 200 }, (_, i) => aLine({ description: `Line number ${i + 1}` }));
    const pages = await textsOf(pdfOf(anInvoice({ lines })));
    expect(pages.length).toBeGreaterThan(4);
    expect(pages.every((page, index) => page.includes(`Page ${index + 1} of ${pages.length}`))).toBe(true);
    expect(pages.slice(0, -1).every((page) => page.includes('Description'))).toBe(true);
    const all = pages.join('\n');
    expect(lines.filter((line) => !all.includes(line.description))).toEqual([]);
  });

  it.each(['شركة الحوسبة السحابية', 'חברת ענן בע״מ', '云计算有限公司', 'クラウド株式会社', 'Ωμέγα Облако Łódź'])(
    'shows the name %s',
    async (name) => {
      const others = { addressLines: [], country: '', taxId: '', email: '' };
      const buyer = { name, ...others };
      const [text = ''] = await textsOf(pdfOf(anInvoice({ buyer })));
      const missing = lettersOf(name).filter((letter) => !lettersOf(text).includes(letter));
      expect(missing).toEqual([]);
    },
  );

  it('takes names for names, whatever they look like', async () => {
    const name = '#panic("x") *bold* $1$ [b] \\ // <a> @b';
    const buyer = { name, addressLines: [], country: '', taxId: '', email: '' };
    const [text] = await textsOf(pdfOf(anInvoice({ buyer, lines: [aLine({ description: name })] })));
    expect(text?.split(name)).toHaveLength(3);
  });

  it('has a credit note beside it, with both numbers', async () => {
    const [text = ''] = await textsOf(renderPdf(viewCreditNote(aCreditNote(), anInvoice()), CREATED));
    const wanted = ['Credit note', 'CN-000002', 'INV-000007', 'Line 1 of the invoice', '1,245.69 EUR', 'an outage'];
    expect(wanted.filter((each) => !text.includes(each))).toEqual([]);
    expect(text).not.toContain('IBAN');
  });

  it('marks what is void or a draft', async () => {
    const voided = anInvoice({ state: 'void', voidedAt: CREATED, voidReason: 'wrong price' });
    const [text = ''] = await textsOf(pdfOf(voided));
    expect(text).toContain('VOID');
    expect(text).toContain('Void: wrong price');
    const [draft = ''] = await textsOf(pdfOf(anInvoice({ state: 'draft', number: undefined })));
    expect(draft).toContain('DRAFT');
  });

  it('is refused where no font has a character, not shown with a hole', () => {
    const buyer = { name: 'ꦲꦏ꧀ꦱꦫ', addressLines: [], country: '', taxId: '', email: '' };
    expect(() => pdfOf(anInvoice({ buyer }))).toThrow('could not be displayed with any font');
  });
});
