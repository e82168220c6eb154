import { readFileSync, writeFileSync } from 'node:fs';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { gaugeOf } from './check-stored.ts';

const KIB_PER_MIB = 1024;

/** What an attack did to a meterd, besides what it answered. */
export interface Harm {
  /** By how much the most memory resident during it was over that before. */
  readonly residentMibGrown: number;
  /** The longest time without a turn of meterd's event loop, as the clock has it: on a busy machine most of it is waiting. */
  readonly loopBlockedMsByClock: number;
  /** How long its thread was ready to run and got no core, all together. */
  readonly waitedForCoreMs: number;
  /** The first less the second, at least 0. Waits before and after the longest stop are taken off too: it may be too little. */
  readonly loopBlockedMsLessWaits: number;
}

/** Watches memory and event loop of a meterd, from now on. */
export class HarmWatch {
  readonly #meterd: MeterdProcess;
  readonly #pid: number;
  readonly #beforeKib: number;
  #waitedMs: number;
  #worst: Harm | undefined;

  private constructor(meterd: MeterdProcess, pid: number) {
    this.#meterd = meterd;
    this.#pid = pid;
    this.#beforeKib = statusKib(pid, 'VmRSS');
    this.#waitedMs = waitedForCoreMs(pid);
    // Resets the highest resident size (proc_pid_clear_refs(5)).
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  }

  static async start(meterd: MeterdProcess): Promise<HarmWatch> {
    const { pid } = meterd.child;
    if (pid === undefined) throw new Error('meterd has no process');
    // Reading it starts it anew.
    await gaugeOf(meterd.url, LOOP_GAUGE);
    return new HarmWatch(meterd, pid);
  }

  /** The most of each, over all looks. Looks once more. */
  async worst(): Promise<Harm> {
    await this.harm();
    if (this.#worst === undefined) throw new Error('nobody has looked');
    return this.#worst;
  }

  /** Of the event loop since the last look. */
  async harm(): Promise<Harm> {
    const blockedMs = await gaugeOf(this.#meterd.url, LOOP_GAUGE);
    const waitedMs = waitedForCoreMs(this.#pid);
    const waitedSinceMs = waitedMs - this.#waitedMs;
    this.#waitedMs = waitedMs;
    const grownKib = statusKib(this.#pid, 'VmHWM') - this.#beforeKib;
    const harm: Harm = {
      residentMibGrown: Math.round(grownKib / KIB_PER_MIB),
      loopBlockedMsByClock: Math.round(blockedMs),
      waitedForCoreMs: Math.round(waitedSinceMs),
      loopBlockedMsLessWaits: Math.max(0, Math.round(blockedMs - waitedSinceMs)),
    };
    this.#worst = mostOf(harm, this.#worst ?? harm);
    return harm;
  }
}

function mostOf(one: Harm, other: Harm): Harm {
  return {
    residentMibGrown: Math.max(one.residentMibGrown, other.residentMibGrown),
    loopBlockedMsByClock: Math.max(one.loopBlockedMsByClock, other.loopBlockedMsByClock),
    waitedForCoreMs: Math.max(one.waitedForCoreMs, other.waitedForCoreMs),
    loopBlockedMsLessWaits: Math.max(one.loopBlockedMsLessWaits, other.loopBlockedMsLessWaits),
  };
}

const LOOP_GAUGE = 'meterd_event_loop_blocked_ms';

/** Of the main thread: the second figure of schedstat, in nanoseconds (Linux, sched-stats). */
function waitedForCoreMs(pid: number): number {
  const [, waitedNanos] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ');
  return Number(waitedNanos) / 1e6;
}

function statusKib(pid: number, field: string): number {
  const [, kib] =
    new RegExp(String.raw`^${field}:\s+(\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  if (kib === undefined) throw new Error(`/proc/${pid}/status does not tell ${field}`);
  return Number(kib);
}
