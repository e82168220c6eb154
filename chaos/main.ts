import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { Random } from '../bench/generator/random.ts';
import { machineLine } from '../bench/report.ts';
import { thisMachine } from '../bench/machine.ts';
import { messageOf } from '../src/lib/failure.ts';
import { Closers } from './closers.ts';
import { type Command, parseCommand, USAGE } from './command.ts';
import { figuresTable } from './figures.ts';
import { type Ground, jsonLine, type Outcome, tableText } from './report.ts';
import { type Context, type Finding, passes, type Row } from './row.ts';
import { ROWS } from './rows.ts';
import { EnginePair, newFolder, Site } from './site.ts';
import { missingTools } from './tools.ts';

const SEEDS = 2 ** 32;
/** A row that takes longer hangs, which is a failure of what it tries or of its own. */
const ROW_MS_MAX = { quick: 600_000, full: 12 * 3_600_000 };

/** Of everything that outlives a row. */
const closers = new Closers();
let shared: Promise<EnginePair> | undefined;

async function main(): Promise<undefined> {
  const command = parseCommand(
    process.argv.slice(2),
    ROWS.map((row) => row.name),
  );
  if (command === undefined) {
    process.stdout.write(USAGE);
    return undefined;
  }
  const rows = ROWS.filter((row) => command.rows.includes(row.name));
  if (command.isList) {
    process.stdout.write(rows.map((row) => `${row.name.padEnd(12)} ${row.promise}\n`).join(''));
    return undefined;
  }
  if (command.isMarkdown) {
    const order = ROWS.map((row) => row.name);
    process.stdout.write(figuresTable(await textOf(process.stdin), order));
    return undefined;
  }
  const ground = await groundOf();
  if (!command.isJson) process.stdout.write(`${ground.machine}; commit ${ground.commit}\n\n`);
  try {
    await runRows(rows, command, ground);
  } finally {
    await closers.close();
  }
  return undefined;
}

/** The commit is that of the checkout, marked where it was changed since; "none" where there is no git. */
async function groundOf(): Promise<Ground> {
  const machine = machineLine(await thisMachine());
  const commit = await new Promise<string>((resolve) => {
    execFile('git', ['describe', '--always', '--dirty'], { cwd: import.meta.dirname }, (failed, stdout) => {
      resolve(failed === null ? stdout.trim() : 'none');
    });
  });
  return { commit, machine };
}

async function runRows(rows: readonly Row[], command: Command, ground: Ground): Promise<void> {
  const seed = command.seed ?? randomInt(SEEDS);
  process.stderr.write(`seed ${seed}\n`);
  for (const row of rows) {
    const outcome = await runRow(row, command, seed);
    process.stdout.write(`${command.isJson ? jsonLine(outcome, ground) : tableText(outcome)}\n`);
    if (!passes(outcome.finding)) process.exitCode = 1;
  }
}

/** Never rejects: a row that throws has failed, and the others are still tried. */
async function runRow(row: Row, command: Command, seed: number): Promise<Outcome> {
  const trials = command.trials ?? (command.isFull ? row.trials.full : row.trials.quick);
  const rowSeed = crc32(row.name, seed);
  process.stderr.write(`${row.name}: ${trials} trials; again with --seed ${seed}\n`);
  const [at, startedMs] = [new Date(), performance.now()];
  const rowClosers = new Closers();
  closers.add(() => rowClosers.close());
  const tried = await tryRow(row, rowClosers, { trials, isFull: command.isFull, seed: rowSeed });
  const { isFull } = command;
  return { row, trials, seed, isFull, at, durationMs: performance.now() - startedMs, ...tried };
}

async function tryRow(
  row: Row,
  rowClosers: Closers,
  given: Pick<Context, 'trials' | 'isFull' | 'seed'>,
): Promise<{ finding: Finding; tried: boolean }> {
  const missing = missingTools(row.tools);
  if (missing.length > 0) return { finding: { observed: {}, limit: {}, wrong: missing }, tried: false };
  try {
    const folder = await newFolder();
    rowClosers.add(() => rm(folder, { recursive: true, force: true }));
    const finding = await withinTime(
      row.run(contextOf(row, { ...given, folder, rowClosers })),
      given.isFull || given.trials > row.trials.quick ? ROW_MS_MAX.full : ROW_MS_MAX.quick,
    );
    return { finding, tried: true };
  } catch (reason) {
    process.stderr.write(`${reason instanceof Error ? reason.stack : String(reason)}\n`);
    const wrong = [`it could not be tried to the end: ${messageOf(reason)}`];
    return { finding: { observed: {}, limit: {}, wrong }, tried: false };
  } finally {
    await rowClosers.close();
  }
}

/** @throws Error where it takes too long; what goes on then fails for itself once what it stands on is closed */
async function withinTime(finding: Promise<Finding>, timeoutMs: number): Promise<Finding> {
  const late = Promise.withResolvers<never>();
  const timeout = setTimeout(() => late.reject(new Error(`it did not end within ${timeoutMs / 1000} s`)), timeoutMs);
  try {
    return await Promise.race([finding, late.promise]);
  } finally {
    clearTimeout(timeout);
  }
}

function contextOf(
  row: Row,
  given: Pick<Context, 'trials' | 'isFull' | 'seed' | 'folder'> & { readonly rowClosers: Closers },
): Context {
  const { rowClosers, ...rest } = given;
  const siteOn = async (engines: EnginePair): Promise<Site> => {
    const site = await Site.make(engines, rest.folder);
    rowClosers.add(() => site.close());
    return site;
  };
  return {
    ...rest,
    random: new Random(rest.seed),
    site: async () => siteOn(await sharedEngines()),
    ownSite: async (prepare) => {
      const engines = await EnginePair.start(prepare);
      rowClosers.add(() => engines.close());
      return siteOn(engines);
    },
    note: (text) => void process.stderr.write(`${row.name}: ${text}\n`),
    onClose: (closer) => rowClosers.add(closer),
  };
}

function sharedEngines(): Promise<EnginePair> {
  shared ??= EnginePair.start().then((engines) => {
    closers.add(() => engines.close());
    return engines;
  });
  return shared;
}

const interrupted = new Promise<NodeJS.Signals>((resolve) => {
  // More than once: `timeout` sends its signal twice, and the second must not cut the cleaning up short.
  process.on('SIGINT', resolve).on('SIGTERM', resolve);
});
const signal = await Promise.race([main(), interrupted]);
if (signal !== undefined) {
  process.stderr.write(`\n${signal}: stopping what was started …\n`);
  await closers.close();
}
// What a row that took too long has left running must not keep this from ending.
process.exit(signal === undefined ? process.exitCode : 130);
