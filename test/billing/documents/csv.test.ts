import { describe, expect, it } from 'vitest';
import { renderCsv } from '../../../src/billing/documents/csv.ts';
import { aLine, anInvoice } from './an-invoice.ts';

/** The cells of a line by column. */
function cellsOf(...change: Parameters<typeof aLine>): Map<string, string> {
  const [head, row] = parse(renderCsv(anInvoice({ lines: [aLine(...change)] }), new Map([['x', NAMED]])));
  return new Map(head?.map((name, index) => [name, row?.[index] ?? '']));
}
const NAMED = { number: 'INV-000003', period: '2026-07' };

/** A plain reader of RFC 4180. */
function parse(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, plain, quoted, end] of text.matchAll(/(?:([^",\r\n]*)|"((?:[^"]|"")*)")(,|\r\n)/g)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    if (end === '\r\n') rows.push([]);
  }
  return rows.slice(0, -1);
}

describe('an invoice as CSV', () => {
  it('has a header and a row per line, with all digits', () => {
    const lines = [aLine(), aLine({ quantity: '0.25833333333333333333', amount: '0.01' })];
    const rows = parse(renderCsv(anInvoice({ lines }), new Map()));
    expect(rows).toHaveLength(3);
    expect(new Set(rows.map((row) => row.length)).size).toBe(1);
    const cells = cellsOf({ quantity: '0.25833333333333333333' });
    expect(Object.fromEntries(cells)).toMatchObject({
      number: 'INV-000007',
      position: '1',
      kind: 'usage',
      quantity: '0.25833333333333333333',
      amount: '93.60',
      start: '2026-09-01T00:00:00.000Z',
      regions: 'eu=1440 us=432',
      adjusts: '',
    });
  });

  it('names the invoice that a line adjusts', () => {
    expect(cellsOf({ adjustsInvoiceId: 'x' }).get('adjusts')).toBe('INV-000003');
  });

  it.each(['a "quoted", name', 'two\r\nlines', ',', '"', 'شركة'])('quotes %j', (description) => {
    expect(cellsOf({ description }).get('description')).toBe(description);
  });

  it.each(['=1+1', '+1', '-1', '@x', '\tx'])('keeps %j from being a formula', (description) => {
    expect(cellsOf({ description }).get('description')).toBe(`'${description}`);
  });

  it('leaves amounts below zero as numbers', () => {
    expect(cellsOf({ amount: '-5.00' }).get('amount')).toBe('-5.00');
  });
});
