import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readFile, realpath, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { codeOf, messageOf } from '../../lib/failure.ts';
import { retry } from '../../lib/retry.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import { type EmbeddedEngine, type EngineProcess, startEngineProcess, untilReady } from './engine-process.ts';
import { type PostgresAccount, postgresAccount } from './postgres-account.ts';
import { type PostgresBinaries, postgresBinaries } from './postgres-binaries.ts';

const run = promisify(execFile);

const USER = 'meterd';
const DATABASE = 'meterd';
const INITDB_TIMEOUT_MS = 60_000;
/** How long an orderly stop may take, once its input is closed, before it is killed from outside. */
const STOP_GRACE_MS = 10_000;
/** Told to those who ask too early, and to connections that are left when it is stopped: both are meant. */
const LOG_NOISE = /FATAL: +(the database system is starting up|terminating connection due to administrator command)$/;
/** What a socket's path may have on every system, less the name of the socket in its folder. */
const SOCKET_FOLDER_BYTES_MAX = 85;

/**
 * Runs the server and asks it for a fast shutdown when standard input closes, which it does when meterd ends in whatever
 * way. Asked again each second, since a server that is just starting may miss it.
 */
const SUPERVISOR = `
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r line <&3; while kill -INT "$server"; do sleep 1; done; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher"
exit "$status"
`;

export interface PostgresOptions {
  /** Where its data is; made and initialised where it is missing. */
  readonly folder: string;
  /** How long it may take until it answers, an earlier server's leaving of the same folder included. */
  readonly readyTimeoutMs: number;
  /** What an earlier start of the folder answered: its socket is made in the same place again. */
  readonly url?: string | undefined;
  /** Told of each line of its log. */
  readonly onLog: (line: string) => void;
}

/**
 * Starts the embedded PostgreSQL, listening on a Unix socket only, in a folder that only its own user (and root) can enter.
 * @throws Error where the platform has no embedded PostgreSQL, and where it is not ready in time
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedEngine> {
  const binaries = await postgresBinaries();
  const account = await postgresAccount(options.folder);
  if ((await readIfThere(join(options.folder, 'PG_VERSION'))) === '') {
    await initialise(binaries, account, resolve(options.folder));
  }
  // One name for one folder, whatever links lead to it.
  const folder = await realpath(options.folder);
  const earlierSocketFolder = options.url === undefined ? null : new URL(options.url).searchParams.get('host');
  const socketFolder = earlierSocketFolder ?? (await makeSocketFolder(account, folder));

  const timeout = AbortSignal.timeout(options.readyTimeoutMs);
  const engine = await retry(() => startOnce({ ...options, binaries, account, folder, socketFolder, timeout }), {
    attemptsMax: Infinity,
    delayMs: 50,
    delayMsMax: 200,
    // The server of a meterd that was killed needs a moment to stop, and holds the folder until then.
    retryable: (reason) => isFolderBusy(reason) && !timeout.aborted,
  });
  return {
    url: urlOf(socketFolder, DATABASE),
    exited: engine.exited,
    async stop() {
      await engine.stop(STOP_GRACE_MS);
      if (socketFolder !== folder) await rm(socketFolder, { recursive: true, force: true });
    },
  };
}

/** Makes the data under another name first: what was cut short is never taken for whole. */
async function initialise(binaries: PostgresBinaries, account: PostgresAccount, folder: string): Promise<void> {
  const newFolder = `${folder}.new`;
  await rm(newFolder, { recursive: true, force: true });
  await mkdir(newFolder, { recursive: true, mode: 0o700 });
  if (account.owner !== undefined) await chown(newFolder, account.owner.uid, account.owner.gid);
  const [program, ...args] = [
    ...account.prefix,
    binaries.initdb,
    `--pgdata=${newFolder}`,
    `--username=${USER}`,
    '--encoding=UTF8',
    '--locale=C',
    '--auth-local=trust',
    '--auth-host=reject',
  ];
  try {
    await run(program, args, { cwd: newFolder, timeout: INITDB_TIMEOUT_MS });
  } catch (cause) {
    throw new Error(`initdb could not make a database in ${newFolder}: ${messageOf(cause)}`, { cause });
  }
  await rename(newFolder, folder);
  await syncFolder(dirname(folder));
}

interface Start extends PostgresOptions {
  readonly binaries: PostgresBinaries;
  readonly account: PostgresAccount;
  readonly socketFolder: string;
  readonly timeout: AbortSignal;
}

async function startOnce({ binaries, account, folder, socketFolder, timeout, onLog }: Start): Promise<EngineProcess> {
  await removeForeignPidFile(folder);
  const serverName = `meterd-${randomUUID()}`;
  const server = [
    ...account.prefix,
    binaries.postgres,
    '-D',
    folder,
    `--unix_socket_directories=${socketFolder}`,
    '--port=5432',
    `--cluster_name=${serverName}`,
    '--listen_addresses=',
    '--timezone=UTC',
    '--log_timezone=UTC',
    '--log_checkpoints=off',
  ];
  const args = ['-c', SUPERVISOR, 'sh', ...server];
  const engine = startEngineProcess({ name: 'PostgreSQL', command: '/bin/sh', args, folder, onLog, noise: LOG_NOISE });
  try {
    await untilReady(engine, timeout, () => makeDatabase(urlOf(socketFolder, 'postgres'), serverName));
    return engine;
  } catch (reason) {
    await engine.stop(STOP_GRACE_MS);
    throw new Error(`the embedded PostgreSQL in ${folder} is not ready: ${messageOf(reason)}`, { cause: reason });
  }
}

/**
 * Connects, and makes meterd's database where it is missing.
 * @throws Error where it is not the server of that name that answers: an earlier one may still be there
 */
async function makeDatabase(url: string, serverName: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  await client.connect();
  try {
    const answering = await client.query<{ cluster_name: string }>('SHOW cluster_name');
    if (answering.rows[0]?.cluster_name !== serverName) throw new Error('an earlier server answers');
    const found = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (found.rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
}

function isFolderBusy(reason: unknown): boolean {
  return /lock file "postmaster.pid" already exists|pre-existing shared memory block/.test(messageOf(reason));
}

/**
 * A server that was killed leaves its process id behind. PostgreSQL clears that away unless a process of that id runs, and in
 * a container, where ids start anew, one easily does. A server of this folder has the folder among its arguments, so any
 * process without it is another. In every other case the file stays: PostgreSQL knows what to do with it.
 */
async function removeForeignPidFile(folder: string): Promise<void> {
  const path = join(folder, 'postmaster.pid');
  const pid = (await readIfThere(path)).split('\n')[0];
  // Empty where no such process runs, and where the system does not tell (it is Linux that does).
  const commandLine = await readIfThere(`/proc/${pid}/cmdline`);
  if (commandLine !== '' && !commandLine.split('\0').includes(folder)) await rm(path, { force: true });
}

async function readIfThere(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    // ESRCH: the process ended while its file was read.
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return '';
    throw error;
  });
}

/** The data folder, which nobody else can enter; a temporary one where its path is too long, or a list to PostgreSQL. */
async function makeSocketFolder(account: PostgresAccount, folder: string): Promise<string> {
  if (Buffer.byteLength(folder) <= SOCKET_FOLDER_BYTES_MAX && !/[,"]/.test(folder)) return folder;
  const socketFolder = await mkdtemp(join(tmpdir(), 'meterd-'));
  await chmod(socketFolder, 0o700);
  if (account.owner !== undefined) await chown(socketFolder, account.owner.uid, account.owner.gid);
  return socketFolder;
}

/** The host in front is never used: the one in the query is, and without the first it would be no valid URL. */
function urlOf(socketFolder: string, database: string): string {
  return `postgresql://${USER}@localhost/${database}?host=${encodeURIComponent(socketFolder)}`;
}
