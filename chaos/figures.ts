import { z } from 'zod';

/** A line of JSON that the rig printed, as far as the table of docs/reliability.md tells it. */
const LINE = z.object({
  row: z.string(),
  trials: z.int(),
  isFull: z.boolean(),
  observed: z.record(z.string(), z.number()),
  pass: z.boolean(),
  seed: z.int(),
  seconds: z.number(),
  at: z.iso.datetime(),
  commit: z.string(),
});

type Line = z.infer<typeof LINE>;

const HEAD = ['row', 'trials', 'took', 'observed', 'on', 'commit', 'again with `npm run chaos --`'];
const SECONDS_PER_MINUTE = 60;

/**
 * Lines of JSON as a Markdown table, a row each, in the order of the rig.
 * @param text of `--json`. Where it has several lines of a row, a full run goes before a quick one, then the latest
 * @throws Error naming a line that is none of the rig's, or that tells of a row that did not pass
 */
export function figuresTable(text: string, order: readonly string[]): string {
  const told = new Map<string, Line>();
  for (const line of linesOf(text)) {
    const before = told.get(line.row);
    if (before === undefined || goesBefore(line, before)) told.set(line.row, line);
  }
  const rows = order.flatMap((name) => {
    const line = told.get(name);
    return line === undefined ? [] : [cellsOf(line)];
  });
  return [HEAD, HEAD.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

function linesOf(text: string): Line[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const read = LINE.parse(JSON.parse(line));
    if (!read.pass) throw new Error(`row ${read.row} of ${read.at} did not pass: its figures are no result`);
    return read;
  });
}

function goesBefore(one: Line, other: Line): boolean {
  return one.isFull === other.isFull ? one.at > other.at : one.isFull;
}

function cellsOf({ row, trials, isFull, observed, seed, seconds, at, commit }: Line): string[] {
  const figures = Object.entries(observed).map(([name, value]) => `${name} ${value.toLocaleString('en')}`);
  const again = `\`${row}${isFull ? ' --full' : ''} --seed ${seed}\``;
  const kind = isFull ? '' : ', quick';
  return [
    `\`${row}\``,
    `${trials.toLocaleString('en')}${kind}`,
    tookText(seconds),
    figures.join(', '),
    at.slice(0, 10),
    commit,
    again,
  ];
}

function tookText(seconds: number): string {
  return seconds < 2 * SECONDS_PER_MINUTE ? `${seconds} s` : `${Math.round(seconds / SECONDS_PER_MINUTE)} min`;
}
