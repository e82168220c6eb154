import type { CaseResult, Figure } from './case.ts';
import type { Machine } from './machine.ts';

const HEAD = ['figure', 'value', 'unit', 'held against', '', 'ratio', 'target', ''];

/** The machine in one line. */
export function machineLine(machine: Machine): string {
  const { cores, cpu, memoryGib, kernel, node, clickhouse } = machine;
  return `${cores} cores (${cpu}), ${memoryGib} GiB, ${kernel}, Node ${node}, ClickHouse ${clickhouse}`;
}

/** A case as a table, with its remarks and what was wrong below. */
export function caseText(name: string, result: CaseResult): string {
  const rows = [HEAD, ...result.figures.map(figureRow)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const isNumber = [false, true, false, false, true, true, true, false];
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (isNumber[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  const remarks = (result.remarks ?? []).map((remark) => `  (${remark})`);
  const wrong = result.wrong.map((text) => `  NOT EXACT: ${text}`);
  return [`== ${name}`, ...lines, ...remarks, ...wrong, ''].join('\n');
}

/** Whether a figure is what it should be; `undefined` where nothing is asked of it. */
export function meets({ value, target }: Figure): boolean | undefined {
  if (target === undefined) return undefined;
  return 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
}

function figureRow(figure: Figure): string[] {
  const { what, value, unit, against, target } = figure;
  const met = meets(figure);
  const bound =
    target === undefined ? '' : 'atLeast' in target ? `≥ ${show(target.atLeast)}` : `≤ ${show(target.atMost)}`;
  return [
    what,
    show(value),
    unit,
    against?.what ?? '',
    against === undefined ? '' : show(against.value),
    against === undefined ? '' : show(value / against.value),
    bound,
    met === undefined ? '' : met ? 'met' : 'MISSED',
  ];
}

/** Three digits that count, or all of a larger number. */
function show(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
}
