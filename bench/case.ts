import type { World } from './world.ts';

/** What the command line asks for. */
export interface Options {
  /** How long the measurement of the stored rate lasts. */
  readonly seconds: number;
  /** `undefined`: as many as each case takes by default. */
  readonly windows: number | undefined;
  /** Invoice: each of these numbers in turn. */
  readonly customers: readonly number[] | undefined;
  /** VMs that run at once in the ingest case. */
  readonly vms: number | undefined;
  /** A meterd that runs elsewhere, and a collector's key for it. */
  readonly remote: { readonly url: string; readonly key: string } | undefined;
  /** Every case in about five minutes: each takes less than it does when it is named. */
  readonly isBrief: boolean;
}

/** What a case is given. */
export interface Bench {
  readonly options: Options;
  /**
   * Starts engines of the case's own, which are stopped and removed at its end.
   * @param clickhouseConfig XML that is laid over the embedded ClickHouse's own configuration
   */
  world(clickhouseConfig?: string): Promise<World>;
  /** What cases before this one found, by their names. */
  readonly results: Readonly<Record<string, CaseResult>>;
  /** Tells whoever waits what is going on. */
  note(text: string): void;
}

/** One measured figure. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** What the figure is held against, in the same unit and measured in the same run. */
  readonly against?: { readonly what: string; readonly value: number };
  /** What it should be; a miss is shown and is no failure. */
  readonly target?: { readonly atLeast: number } | { readonly atMost: number };
}

export interface CaseResult {
  readonly figures: readonly Figure[];
  /** What `--json` has under the case's name. */
  readonly json: Readonly<Record<string, unknown>>;
  /** What was not exact: each a failure of the whole run. */
  readonly wrong: readonly string[];
  /** What a reader of the figures has to know. */
  readonly remarks?: readonly string[];
}

export type Case = (bench: Bench) => Promise<CaseResult>;
