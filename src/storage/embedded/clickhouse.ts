import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { getPriority, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../lib/failure.ts';
import { retry } from '../../lib/retry.ts';
import { type EmbeddedEngine, type EngineProcess, startEngineProcess, untilReady } from './engine-process.ts';

const LIBRARY = '@chdb/lib-linux-x64-gnu/libchdb.so';
const CHILD_FILE = fileURLToPath(new URL('clickhouse-child.ts', import.meta.url));
const CONFIG_FILE = 'config.xml';
/**
 * Neither inserts nor merges begin where less than this would be left on the disk: ClickHouse 26.7 takes a merge that met
 * the end of the disk for done, with parts that nobody can read, and drops those that it was made from. Less than what
 * the spool keeps free, so that what was acknowledged can be stored where nothing new is taken any more.
 */
const KEEP_FREE_BYTES = 128 * 1024 * 1024;
/**
 * Merges stand behind inserts and queries where all want the processor: with the niceness of the whole process (`clickhouse-child.ts`), they
 * still get a third of what an insert gets, so that parts do not pile up. Where ClickHouse may not set it, it leaves it. Never ahead of a meterd that stands back itself.
 */
const MERGE_NICENESS = 10;
const PORT_FILE = 'http-port';
/** Empty lines and the frames of stack traces, which hold no names. */
const LOG_NOISE = /^$|^\d+\. .*@ 0x[0-9a-f]+$/;
/** How long it may take to leave once its input is closed, before it is killed from outside. */
const STOP_GRACE_MS = 2_000;

/** Listens, writes down on which port, and stays. The program would end with its queries, so the last one never does. */
const STAY_QUERY = [
  'SYSTEM START LISTEN HTTP',
  `SELECT getServerPort('http_port') INTO OUTFILE '${PORT_FILE}' TRUNCATE FORMAT TSV`,
  'SELECT sleepEachRow(3) FROM system.numbers FORMAT Null SETTINGS function_sleep_max_microseconds_per_block=0, max_block_size=1',
].join('; ');

export interface ClickHouseOptions {
  /** Where its data and its configuration are; made where it is missing. */
  readonly folder: string;
  /** How long it may take until it answers, an earlier server's leaving of the same folder included. */
  readonly readyTimeoutMs: number;
  /** The most memory it takes, in bytes; half of what the machine or the container has where left out. */
  readonly memoryBytesMax?: number;
  /** What an earlier start of the folder answered: its port and its password are used again. */
  readonly url?: string | undefined;
  /** Told of each line of its log: errors. */
  readonly onLog: (line: string) => void;
}

/**
 * Starts the embedded ClickHouse on a free port of 127.0.0.1. The URL holds a password that is made anew at each start,
 * unless an earlier URL is given.
 * @throws Error where the platform has no embedded ClickHouse, and where it is not ready in time
 */
export async function startClickHouse(options: ClickHouseOptions): Promise<EmbeddedEngine> {
  const library = libraryPath();
  const folder = resolve(options.folder);
  const earlier = options.url === undefined ? undefined : new URL(options.url);
  const password = earlier?.password ?? randomBytes(24).toString('hex');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeConfig(join(folder, CONFIG_FILE), password, options.memoryBytesMax ?? memoryBytesHalf());

  const timeout = AbortSignal.timeout(options.readyTimeoutMs);
  const start = { library, folder, wantedPort: Number(earlier?.port ?? 0), onLog: options.onLog, timeout };
  const { engine, port } = await retry(() => startOnce(start), {
    attemptsMax: Infinity,
    delayMs: 50,
    delayMsMax: 200,
    // The child of a meterd that was killed needs a moment to notice, and holds the folder until then.
    retryable: (reason) => isFolderBusy(reason) && !timeout.aborted,
  });
  return {
    url: `http://meterd:${password}@127.0.0.1:${port}`,
    exited: engine.exited,
    stop: () => engine.stop(STOP_GRACE_MS),
  };
}

interface Start {
  readonly library: string;
  readonly folder: string;
  /** 0: any free one. */
  readonly wantedPort: number;
  readonly onLog: (line: string) => void;
  readonly timeout: AbortSignal;
}

async function startOnce({ library, folder, wantedPort, onLog, timeout }: Start): Promise<{
  engine: EngineProcess;
  port: number;
}> {
  await rm(join(folder, PORT_FILE), { force: true });
  // In XML and in SQL paths are relative to the working folder, so that none needs quoting. The data's cannot be: ClickHouse
  // then looks for its parts in the wrong place when it syncs their folders.
  const args = [
    CHILD_FILE,
    library,
    `--path=${join(folder, 'data')}`,
    `--config-file=${CONFIG_FILE}`,
    `--http_port=${wantedPort}`,
    '--listen_host=127.0.0.1',
    `--query=${STAY_QUERY}`,
  ];
  const engine = startEngineProcess({
    name: 'ClickHouse',
    command: process.execPath,
    args,
    folder,
    onLog,
    noise: LOG_NOISE,
  });
  try {
    return { engine, port: await untilReady(engine, timeout, () => listeningPort(folder)) };
  } catch (reason) {
    await engine.stop(STOP_GRACE_MS);
    throw new Error(`the embedded ClickHouse in ${folder} is not ready: ${messageOf(reason)}`, { cause: reason });
  }
}

/** The port that the server wrote down, once it answers there. */
async function listeningPort(folder: string): Promise<number> {
  const port = Number(await readFile(join(folder, PORT_FILE), 'utf8'));
  const response = await fetch(`http://127.0.0.1:${port}/ping`, { signal: AbortSignal.timeout(1_000) });
  if (!response.ok) throw new Error(`ClickHouse answers ${response.status}`);
  return port;
}

function isFolderBusy(reason: unknown): boolean {
  return /Cannot lock file/.test(messageOf(reason));
}

/**
 * Two users. `meterd` has the password and all rights. `default` is who the program itself runs its start-up query as: it
 * cannot have a password, so it has no right but what that query needs. (Anyone on this machine can thus ask for numbers
 * or stop the listening, and can read and write nothing.)
 */
async function writeConfig(path: string, password: string, memoryBytesMax: number): Promise<void> {
  const config = `<clickhouse>
  <logger><console>1</console></logger>
  <log-level>error</log-level>
  <users_config>${CONFIG_FILE}</users_config>
  <max_server_memory_usage>${memoryBytesMax}</max_server_memory_usage>
  <os_threads_nice_value_merge_mutate>${Math.max(MERGE_NICENESS, getPriority())}</os_threads_nice_value_merge_mutate>
  <storage_configuration><disks><default><keep_free_space_bytes>${KEEP_FREE_BYTES}</keep_free_space_bytes></default></disks></storage_configuration>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT SELECT ON system.numbers</query>
      </grants>
    </default>
    <meterd>
      <password>${password}</password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>1</access_management>
    </meterd>
  </users>
  <profiles><default></default></profiles>
  <quotas><default></default></quotas>
</clickhouse>
`;
  await writeFile(path, config, { mode: 0o600 });
  // The mode above holds for a new file only.
  await chmod(path, 0o600);
}

function libraryPath(): string {
  try {
    return createRequire(import.meta.url).resolve(LIBRARY);
  } catch (cause) {
    throw new Error('embedded ClickHouse is only there on linux-x64 with glibc: set CLICKHOUSE_URL', { cause });
  }
}

function memoryBytesHalf(): number {
  const containerBytes = process.constrainedMemory();
  const bytes = containerBytes > 0 ? Math.min(containerBytes, totalmem()) : totalmem();
  return Math.floor(bytes / 2);
}
