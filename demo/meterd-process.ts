import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A meterd in a process of its own, ready to be called. */
export interface MeterdProcess {
  readonly url: string;
  readonly adminKey: string;
  readonly child: ChildProcess;
}

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
/** As `npm start` has it: a small young generation, 419 MB resident at full rate instead of 514 MB. */
const FLAGS = ['--max-semi-space-size=16'];
const READY_TIMEOUT_MS = 60_000;

/**
 * Starts meterd on a data folder and waits until it is ready.
 * @param environment on top of this process's own
 * @param log where its log goes: a file descriptor, or with this process's own
 * @throws Error where it ends or takes longer than a minute instead
 */
export async function startMeterd(
  dataDir: string,
  environment: Readonly<Record<string, string>> = {},
  log: number | 'inherit' = 'inherit',
): Promise<MeterdProcess> {
  const env = { METERD_LOG_LEVEL: 'warn', ...process.env, METERD_DATA_DIR: dataDir, ...environment };
  const child = spawn(process.execPath, [...FLAGS, MAIN], { env, stdio: ['ignore', 'pipe', log] });
  const url = await readyUrl(child);
  const adminKey = (await readFile(join(dataDir, 'admin.key'), 'utf8')).trim();
  return { url, adminKey, child };
}

/** Asks meterd to stop and waits until it has. @returns its exit code */
export async function stopMeterd(meterd: MeterdProcess): Promise<number | null> {
  if (meterd.child.exitCode !== null || meterd.child.signalCode !== null) return meterd.child.exitCode;
  const exited = once(meterd.child, 'exit');
  meterd.child.kill('SIGTERM');
  await exited;
  return meterd.child.exitCode;
}

/** The usual address where its port is free, any other port where it is not. */
export async function freeAddress(): Promise<string> {
  const server = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(8080, '127.0.0.1', () => resolve(true));
  });
  if (isFree) await new Promise((resolve) => server.close(resolve));
  return isFree ? '127.0.0.1:8080' : '127.0.0.1:0';
}

/** meterd says on its standard output where it is once it is ready. */
async function readyUrl(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('meterd has no standard output');
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`meterd ended before it was ready: ${String(code ?? signal)}`);
  });
  const timeout = AbortSignal.timeout(READY_TIMEOUT_MS);
  const late = once(timeout, 'abort').then(() => {
    throw new Error(`meterd was not ready within ${READY_TIMEOUT_MS / 1000} s`);
  });
  const ready = once(createInterface(child.stdout), 'line').then(([line]) => {
    const [url] = /https?:\S+/.exec(String(line)) ?? [];
    if (url === undefined) throw new Error(`meterd said "${String(line)}", not where it is`);
    return url;
  });
  return Promise.race([ready, ended, late]);
}
