import { describe, expect, it } from 'vitest';
import { record, table } from '../../src/cli/table.ts';

interface Row {
  readonly name: string;
  readonly amount: string;
}
const COLUMNS = { Name: (row: Row) => row.name, Amount: (row: Row) => row.amount };

describe('a table', () => {
  it('aligns decimals to the right and keeps every digit of them', () => {
    const rows = [
      { name: 'CPU', amount: '93.60' },
      { name: 'Memory', amount: '-12345678901234567890.149' },
      { name: 'Free', amount: '' },
    ];
    const width = '-12345678901234567890.149'.length;
    expect(table(COLUMNS, rows).split('\n')).toEqual([
      `Name    ${'Amount'.padStart(width)}`,
      `CPU     ${'93.60'.padStart(width)}`,
      'Memory  -12345678901234567890.149',
      'Free',
      '',
    ]);
  });

  it('aligns a column to the left where a cell of it is no decimal', () => {
    expect(table(COLUMNS, [{ name: '1', amount: '2 USD' }])).toBe('Name  Amount\n   1  2 USD\n');
  });

  it('has its titles alone where it has no rows', () => {
    expect(table(COLUMNS, [])).toBe('Name  Amount\n');
  });

  it('lets no name move the cursor or break a line', () => {
    const name = 'Acme\u001B[2J\nLtd\u2028';
    expect(record(COLUMNS, { name, amount: '' })).toBe('Name  Acme [2J Ltd \n');
  });
});

describe('a record', () => {
  it('has a line for each title that is filled', () => {
    expect(record(COLUMNS, { name: 'Acme', amount: '' })).toBe('Name  Acme\n');
    expect(record(COLUMNS, { name: 'Acme', amount: '1.00' })).toBe('Name    Acme\nAmount  1.00\n');
  });
});
