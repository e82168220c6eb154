/** What is shown of a row, by the column's title. Money and quantities are the text that the service gave. */
export type Columns<T> = Readonly<Record<string, (row: T) => string>>;

const GAP = '  ';
const DECIMAL = /^-?\d+(\.\d+)?$/;

/** Rows under their titles. A column of nothing but decimals is aligned to the right. Ends with a line break. */
export function table<T>(columns: Columns<T>, rows: readonly T[]): string {
  const titles = Object.keys(columns);
  const cells = rows.map((row) => Object.values(columns).map((cell) => printable(cell(row))));
  const isRight = titles.map((_, at) => {
    const filled = cells.map((row) => row[at] ?? '').filter((cell) => cell !== '');
    return filled.length > 0 && filled.every((cell) => DECIMAL.test(cell));
  });
  const widths = titles.map((title, at) => Math.max(...[title, ...cells.map((row) => row[at] ?? '')].map(widthOf)));
  const line = (row: readonly string[]): string => {
    const padded = row.map((cell, at) => {
      const padding = ' '.repeat((widths[at] ?? 0) - widthOf(cell));
      return isRight[at] === true ? padding + cell : cell + padding;
    });
    return `${padded.join(GAP).trimEnd()}\n`;
  };
  return [titles, ...cells].map(line).join('');
}

/** One row, a line for each title; what is empty is left out. */
export function record<T>(columns: Columns<T>, row: T): string {
  const cells = Object.entries(columns).map(([title, cell]) => [title, printable(cell(row))] as const);
  const filled = cells.filter(([, cell]) => cell !== '');
  const width = Math.max(0, ...filled.map(([title]) => widthOf(title)));
  return filled.map(([title, cell]) => `${title}${' '.repeat(width - widthOf(title))}${GAP}${cell}\n`).join('');
}

/** Names come from outside: control characters in them would move the cursor or recolour the terminal. */
function printable(cell: string): string {
  return cell.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ');
}

function widthOf(text: string): number {
  return Array.from(text).length;
}
