import type { Random } from '../bench/generator/random.ts';
import type { Site } from './site.ts';

/** How many trials a row makes. */
export interface Trials {
  readonly full: number;
  readonly quick: number;
}

/** What a row is given. */
export interface Context {
  readonly trials: number;
  readonly isFull: boolean;
  /** Of this row alone: the same seed makes the same choices, whichever other rows run. */
  readonly seed: number;
  /** Starts from the seed. A row that needs several sequences makes `new Random(seed, n)`. */
  readonly random: Random;
  /** On the checkout's disk, for this row alone; removed at its end. */
  readonly folder: string;
  /** Databases of the row's own on the engines that all rows share, and a data folder: what a meterd needs. */
  readonly site: () => Promise<Site>;
  /**
   * Engines of the row's own, for rows that do harm to them.
   * @param prepare given the folder of both before they start: theirs are `clickhouse` and `postgres` in it. What it
   * returns undoes it once they have stopped
   */
  readonly ownSite: (prepare?: (folder: string) => Promise<() => Promise<void>>) => Promise<Site>;
  /** Tells whoever waits what is going on. */
  readonly note: (text: string) => void;
  /** Called when the row ends, in whatever way; the latest first. */
  readonly onClose: (closer: () => Promise<unknown>) => void;
}

/** Where a figure must lie. */
export type Limit = { readonly atMost: number } | { readonly atLeast: number };

/** What a row found. It passes where every figure with a limit keeps it and nothing is wrong. */
export interface Finding {
  /** Figures by name; names carry units (`stopMsMax`). */
  readonly observed: Readonly<Record<string, number>>;
  /** For each figure that decides. */
  readonly limit: Readonly<Record<string, Limit>>;
  /** What was seen that no figure counts, or what stands behind one, in words with the trial that shows it. */
  readonly wrong: readonly string[];
}

/** One kind of fault, tried many times. */
export interface Row {
  readonly name: string;
  /** What must hold, in one sentence. */
  readonly promise: string;
  readonly trials: Trials;
  /** The commands it needs; `tools.ts` knows the Debian package of each. Where one is missing the row fails. */
  readonly tools: readonly string[];
  run(context: Context): Promise<Finding>;
}

/** Whether a figure keeps its limit. */
export function keeps(value: number | undefined, limit: Limit): boolean {
  if (value === undefined || Number.isNaN(value)) return false;
  return 'atMost' in limit ? value <= limit.atMost : value >= limit.atLeast;
}

/** A row passes where every limit is kept and nothing is wrong. */
export function passes({ observed, limit, wrong }: Finding): boolean {
  return wrong.length === 0 && Object.entries(limit).every(([name, each]) => keeps(observed[name], each));
}

/** The limit of figures that must be zero. */
export const NONE: Limit = { atMost: 0 };
