import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { codeOf, messageOf } from '../../lib/failure.ts';
import { retry } from '../../lib/retry.ts';

/** How many of an engine's last lines an error about it quotes. */
const QUOTED_LINES_MAX = 20;
/** The wait between two looks at whether an engine is ready. */
const PROBE_DELAY_MS = 20;

export interface EngineCommand {
  /** What messages call it: `ClickHouse`, `PostgreSQL`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The working folder. */
  readonly folder: string;
  /** Told of each line that the engine prints, `noise` left out. */
  readonly onLog: (line: string) => void;
  /** Lines that say nothing. */
  readonly noise?: RegExp;
}

/** A child process that leaves by itself when its standard input closes: at the latest when this process is gone. */
export interface EngineProcess {
  /** When it has left: why, with the last lines that it printed. */
  readonly exited: Promise<string>;
  /** Closes its input and waits for it to leave; after `graceMs` its whole process group is killed. Twice is harmless. */
  stop(graceMs: number): Promise<void>;
}

/** What a running embedded engine is to its user. */
export interface EmbeddedEngine {
  readonly url: string;
  /** When the engine has left, asked or not: why, with the last lines that it printed. */
  readonly exited: Promise<string>;
  /** Stops it and waits until it is gone. Twice is harmless. */
  stop(): Promise<void>;
}

/**
 * Starts an engine in a process group of its own: a Ctrl-C in the terminal would otherwise stop the engines at the same
 * moment as meterd, which still has acknowledged windows to store in them.
 */
export function startEngineProcess({ name, command, args, folder, onLog, noise }: EngineCommand): EngineProcess {
  const child = spawn(command, args, { cwd: folder, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const lastLines: string[] = [];
  const onLine = (line: string): void => {
    if (noise?.test(line)) return;
    lastLines.push(line);
    if (lastLines.length > QUOTED_LINES_MAX) lastLines.shift();
    onLog(line);
  };
  readLines(child.stdout, onLine);
  readLines(child.stderr, onLine);

  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`${name} could not be started: ${error.message}`));
    child.once('close', (code, signal) => {
      resolve([`${name} has left (${signal ?? `exit code ${code}`})`, ...lastLines].join('\n'));
    });
  });
  // The engine may be gone when its input is closed; that it is gone is told by `exited`.
  child.stdin.on('error', () => undefined);

  return {
    exited,
    async stop(graceMs) {
      child.stdin.end();
      const killing = setTimeout(() => killGroup(child.pid), graceMs);
      await exited;
      clearTimeout(killing);
    },
  };
}

/**
 * Asks `probe` again and again until it does not fail.
 * @throws when the engine leaves or `signal` ends the waiting; the engine is still running in the second case
 */
export async function untilReady<T>(engine: EngineProcess, signal: AbortSignal, probe: () => Promise<T>): Promise<T> {
  const gone = new AbortController();
  void engine.exited.then((why) => gone.abort(new Error(why)));
  let lastFailure: unknown = 'nothing';
  try {
    return await retry(probe, {
      attemptsMax: Infinity,
      delayMs: PROBE_DELAY_MS,
      delayMsMax: PROBE_DELAY_MS,
      signal: AbortSignal.any([signal, gone.signal]),
      onRetry: (reason) => {
        lastFailure = reason;
      },
    });
  } catch (cause) {
    gone.signal.throwIfAborted();
    throw new Error(`it does not answer in time; what came last: ${messageOf(lastFailure)}`, { cause });
  }
}

function readLines(stream: Readable, onLine: (line: string) => void): void {
  createInterface({ input: stream, crlfDelay: Infinity }).on('line', onLine);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // Gone in the very moment: what was wanted.
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}
