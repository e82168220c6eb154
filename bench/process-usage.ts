import { readdirSync, readFileSync } from 'node:fs';
import { codeOf } from '../src/lib/failure.ts';

/** Linux counts CPU time in hundredths of a second whatever the kernel's own tick is. */
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 250;

export interface ProcessUsage {
  readonly cpuSeconds: number;
  /** Most memory resident at once, in bytes. */
  readonly residentBytesMax: number;
  /** By how much memory grew over the second half of the time, in bytes a second: about 0 where it is flat. */
  readonly residentBytesPerSecond: number;
}

/** Watches a process with its children: CPU and memory, from /proc. */
export class UsageWatch {
  readonly #pid: number;
  readonly #cpuBefore: number;
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.#pid = pid;
    this.#cpuBefore = cpuSecondsOf(pid);
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
    this.#sample();
  }

  stop(): ProcessUsage {
    clearInterval(this.#timer);
    this.#sample();
    return {
      cpuSeconds: cpuSecondsOf(this.#pid) - this.#cpuBefore,
      residentBytesMax: Math.max(...this.#samples.map((sample) => sample.bytes)),
      residentBytesPerSecond: slope(this.#samples.slice(Math.floor(this.#samples.length / 2))),
    };
  }

  #sample(): void {
    const bytes = familyOf(this.#pid).reduce((sum, pid) => sum + residentBytesOf(pid), 0);
    this.#samples.push({ atMs: performance.now(), bytes });
  }
}

/** User and system time of a process and its children that are still there. */
export function cpuSecondsOf(pid: number): number {
  return familyOf(pid).reduce((sum, each) => sum + ownCpuSeconds(each), 0);
}

/** The children of a process whose command line has a word in it. */
export function childrenWith(pid: number, word: string): number[] {
  return childrenOf(pid).filter((child) => readProc(child, 'cmdline').includes(word));
}

/** User and system time of a process's threads that are still there, by their names: several may have the same. */
export function threadSecondsOf(pid: number): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const task of tasksOf(pid)) {
    const stat = readProc(pid, `task/${task}/stat`);
    const [, name] = /\((.*)\)/s.exec(stat) ?? [];
    if (name !== undefined) seconds.set(name, (seconds.get(name) ?? 0) + cpuSecondsIn(stat));
  }
  return seconds;
}

function ownCpuSeconds(pid: number): number {
  return cpuSecondsIn(readProc(pid, 'stat'));
}

/** @param stat of a process or a thread: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function cpuSecondsIn(stat: string): number {
  // The name, in brackets, may hold blanks.
  const fields = stat.replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
}

function residentBytesOf(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readProc(pid, 'status')) ?? [];
  return Number(kib ?? 0) * 1024;
}

function familyOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(familyOf)];
}

function childrenOf(pid: number): number[] {
  return tasksOf(pid).flatMap((task) => {
    const children = readProc(pid, `task/${task}/children`).trim();
    return children === '' ? [] : children.split(' ').map(Number);
  });
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Empty where the process is gone. */
function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    if (isGone(error)) return '';
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH';
}

/** Least squares. */
function slope(samples: readonly { readonly atMs: number; readonly bytes: number }[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const seconds = samples.map((sample) => sample.atMs / 1000);
  const bytes = samples.map((sample) => sample.bytes);
  const [meanSeconds, meanBytes] = [mean(seconds), mean(bytes)];
  let above = 0;
  let below = 0;
  samples.forEach((_, i) => {
    const distance = (seconds[i] ?? 0) - meanSeconds;
    above += distance * ((bytes[i] ?? 0) - meanBytes);
    below += distance * distance;
  });
  return below === 0 ? 0 : above / below;
}
