import type { FleetSpec } from '../generator/fleet.ts';
import type { Tally } from '../generator/tally.ts';

/** Whom to send to. */
export interface LoadTarget {
  readonly url: string;
  readonly key: string;
  readonly connections: number;
}

/** How calls are paced. */
export type Pace =
  /** The next call starts when one ends: the highest rate. */
  | { readonly kind: 'closed'; readonly inFlight: number }
  /**
   * Calls start on a timetable, whatever became of those before; latency counts from when a call should have started,
   * so that a server that stands still is seen to.
   */
  | { readonly kind: 'open'; readonly callsPerSecond: number; readonly inFlightMax: number };

export interface RunRequest {
  /** Which of the fleets; -1 sends empty calls (`grpc.health.v1.Health/Check`) instead. */
  readonly fleet: number;
  readonly pace: Pace;
  readonly forMs: number;
  /** No more than so many batches. */
  readonly batchesMax: number;
  /** Sends some batches a second time: most right after their ack, some much later. */
  readonly resends: boolean;
}

/** What came of a run. Times are in milliseconds, latencies from the intended start to the ack. */
export interface RunResult {
  readonly elapsedMs: number;
  readonly calls: number;
  /** Distinct windows that were acknowledged: resends do not count. */
  readonly windows: number;
  readonly resentCalls: number;
  /** Windows as the service counted them, resends included. */
  readonly accepted: number;
  readonly duplicate: number;
  /** How often the service said "not now" and was asked again. */
  readonly refusals: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** CPU of the load generator itself. */
  readonly cpuSeconds: number;
}

export type LoadCommand =
  | { readonly do: 'prepare'; readonly target: LoadTarget; readonly fleets: readonly FleetSpec[] }
  | { readonly do: 'run'; readonly run: RunRequest }
  | { readonly do: 'tally' };

/** The answer to each command; a failure ends the process. */
export type LoadReply =
  | { readonly done: 'prepare' }
  | { readonly done: 'run'; readonly result: RunResult }
  | { readonly done: 'tally'; readonly tally: Tally }
  | { readonly done: 'failed'; readonly message: string };
