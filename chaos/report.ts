import { type Finding, type Limit, passes, type Row } from './row.ts';

/** A row that ran. */
export interface Outcome {
  readonly row: Row;
  readonly trials: number;
  readonly seed: number;
  readonly isFull: boolean;
  /** When it began. */
  readonly at: Date;
  readonly durationMs: number;
  readonly finding: Finding;
  /** False where the row could not be tried to its end. */
  readonly tried: boolean;
}

const MS_PER_S = 1000;

/** What all rows were tried on: the code, and the machine in a line. */
export interface Ground {
  readonly commit: string;
  readonly machine: string;
}

/** One line of JSON. */
export function jsonLine({ row, finding, ...outcome }: Outcome, ground: Ground): string {
  const { observed, limit, wrong } = finding;
  const { name, promise } = row;
  const { trials, isFull, tried, seed, at, durationMs } = outcome;
  const seconds = Math.round(durationMs / MS_PER_S);
  return JSON.stringify({
    row: name,
    promise,
    trials,
    isFull,
    observed,
    limit,
    pass: passes(finding),
    tried,
    wrong,
    seed,
    seconds,
    at,
    ...ground,
  });
}

/** A row as lines of the table: what decides first, one figure a line, then what was wrong. */
export function tableText({ row, trials, seed, durationMs, finding }: Outcome): string {
  const { observed, limit, wrong } = finding;
  const verdict = passes(finding) ? 'pass' : 'FAIL';
  const head = `== ${row.name}: ${verdict} (${trials} trials, ${Math.round(durationMs / MS_PER_S)} s, seed ${seed})`;
  const names = [...new Set([...Object.keys(limit), ...Object.keys(observed)])];
  const nameWidth = Math.max(0, ...names.map((name) => name.length));
  const figures = names.map((name) => {
    const value = observed[name]?.toLocaleString('en') ?? 'not observed';
    const bound = limit[name];
    return `   ${name.padEnd(nameWidth)}  ${value.padStart(14)}${bound === undefined ? '' : `  ${limitText(bound)}`}`;
  });
  return [head, `   ${row.promise}`, ...figures, ...wrong.map((each) => `   WRONG: ${each}`), ''].join('\n');
}

function limitText(limit: Limit): string {
  return 'atMost' in limit ? `≤ ${limit.atMost.toLocaleString('en')}` : `≥ ${limit.atLeast.toLocaleString('en')}`;
}
