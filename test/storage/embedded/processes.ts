import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { retry } from '../../../src/lib/retry.ts';

/** A Node process that runs `hold.ts`, which takes something and keeps it until the process is killed. */
export interface Holder {
  /** The line that it printed when it had it. */
  readonly line: string;
  /** Ends it without giving it a chance to do anything. */
  kill(): Promise<void>;
}

const HOLD_FILE = fileURLToPath(new URL('hold.ts', import.meta.url));

/** @throws Error with what it printed, where it ends before it has what it should take */
export async function holdElsewhere(what: 'data-lock' | 'clickhouse' | 'postgres', folder: string): Promise<Holder> {
  const child = spawn(process.execPath, [HOLD_FILE, what, folder], { stdio: ['pipe', 'pipe', 'pipe'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return { line: await firstLine(child), kill: () => (child.kill('SIGKILL'), exited) };
}

async function firstLine(child: ChildProcess): Promise<string> {
  const printed: string[] = [];
  child.stderr?.on('data', (chunk) => printed.push(String(chunk)));
  return new Promise((resolve, reject) => {
    if (child.stdout !== null) createInterface({ input: child.stdout }).once('line', resolve);
    child.once('close', () => reject(new Error(printed.join(''))));
  });
}

/** Waits until no process of that id runs. */
export async function untilGone(pid: number): Promise<void> {
  const check = async (): Promise<void> => {
    if (await isRunning(pid)) throw new Error(`process ${pid} still runs`);
  };
  await retry(check, { attemptsMax: 500, delayMs: 20, delayMsMax: 20 });
}

/** Whether the process runs. One that has ended and that nobody has waited for does not: it has no command line. */
export async function isRunning(pid: number): Promise<boolean> {
  return readFile(`/proc/${pid}/cmdline`).then(
    (commandLine) => commandLine.length > 0,
    () => false,
  );
}
