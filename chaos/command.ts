import { parseArgs } from 'node:util';

export const USAGE = `Usage: npm run chaos [-- ROW …] [options]

Tries to break meterd, and tells what came of it. All rows where none is named. Exit status 1 where a row fails.

  --quick       few trials of each row, ten to fifteen minutes for all (the default)
  --full        all trials: hours
  --trials N    so many trials of each row instead
  --seed N      the same choices again; each row prints its seed on standard error
  --json        a line of JSON for each row on standard output, in place of the table
  --markdown    runs nothing: lines of JSON on standard input become the table of docs/reliability.md
  --list        names the rows and what each promises
`;

export interface Command {
  readonly rows: readonly string[];
  readonly isFull: boolean;
  readonly isJson: boolean;
  readonly isList: boolean;
  /** Lines of JSON of earlier runs are to become a table. */
  readonly isMarkdown: boolean;
  /** Below 2^32. */
  readonly seed: number | undefined;
  readonly trials: number | undefined;
}

const SEED_MAX = 2 ** 32 - 1;
const TRIALS_MAX = 1_000_000_000;

/**
 * @param known the names of all rows, in the order in which they run
 * @returns `undefined` where help is asked for
 * @throws Error naming what is wrong
 */
export function parseCommand(args: readonly string[], known: readonly string[]): Command | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      seed: { type: 'string' },
      trials: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return undefined;
  if (values.quick && values.full) throw new Error('--quick and --full exclude each other');
  for (const name of positionals) {
    if (!known.includes(name)) throw new Error(`row "${name}" is none of ${known.join(', ')}`);
  }
  return {
    rows: positionals.length === 0 ? known : known.filter((name) => positionals.includes(name)),
    isFull: values.full,
    isJson: values.json,
    isList: values.list,
    isMarkdown: values.markdown,
    seed: whole('--seed', values.seed, 0, SEED_MAX),
    trials: whole('--trials', values.trials, 1, TRIALS_MAX),
  };
}

function whole(name: string, value: string | undefined, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  const digits = value.replaceAll('_', '');
  if (!/^\d{1,10}$/.test(digits) || Number(digits) < min || Number(digits) > max) {
    throw new Error(`${name} ${value} is not a whole number from ${min} to ${max}`);
  }
  return Number(digits);
}
