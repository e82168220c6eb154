import { writeFile } from 'node:fs/promises';
import type { Bench, Case, CaseResult } from './case.ts';
import { collectors } from './cases/collectors.ts';
import { dedup } from './cases/dedup.ts';
import { growth } from './cases/growth.ts';
import { ingest } from './cases/ingest.ts';
import { invoice } from './cases/invoice.ts';
import { live } from './cases/live.ts';
import { peers } from './cases/peers.ts';
import { profile } from './cases/profile.ts';
import { query } from './cases/query.ts';
import { rollup } from './cases/rollup.ts';
import { shard } from './cases/shard.ts';
import { spool } from './cases/spool.ts';
import { parseCommand, USAGE } from './command.ts';
import { thisMachine } from './machine.ts';
import { caseText, machineLine, meets } from './report.ts';
import { closeWorlds, World } from './world.ts';

/** In the order in which they run. */
const USUAL_CASES: Readonly<Record<string, Case>> = { ingest, query, live, rollup, invoice, spool, dedup, peers };
/** These run only where they are named: they are about growing and about the inside, and take minutes. */
const CASES_ON_REQUEST: Readonly<Record<string, Case>> = { growth, shard, collectors, profile };

async function main(): Promise<undefined> {
  const command = parseCommand(process.argv.slice(2), Object.keys(USUAL_CASES), Object.keys(CASES_ON_REQUEST));
  if (command === undefined) {
    process.stdout.write(USAGE);
    return undefined;
  }
  const results: Record<string, CaseResult> = {};
  const bench: Bench = {
    options: command.options,
    results,
    world: (clickhouseConfig) => World.open(clickhouseConfig),
    note: (text) => void process.stderr.write(`${text}\n`),
  };
  const machine = await thisMachine();
  process.stdout.write(`${machineLine(machine)}\n\n`);
  for (const name of command.cases) {
    const run = USUAL_CASES[name] ?? CASES_ON_REQUEST[name];
    if (run === undefined) throw new Error(`there is no case ${name}`);
    const result = await runCase(run, bench);
    results[name] = result;
    process.stdout.write(`${caseText(name, result)}\n`);
  }
  if (command.jsonFile !== undefined) await writeFile(command.jsonFile, toJson(machine, results));
  conclude(results);
  return undefined;
}

async function runCase(run: Case, bench: Bench): Promise<CaseResult> {
  try {
    return await run(bench);
  } finally {
    await closeWorlds();
  }
}

function toJson(machine: object, results: Readonly<Record<string, CaseResult>>): string {
  const byCase = Object.entries(results).map(([name, { json }]) => [name, json]);
  return `${JSON.stringify({ machine, measuredAt: new Date().toISOString(), ...Object.fromEntries(byCase) }, undefined, 2)}\n`;
}

function conclude(results: Readonly<Record<string, CaseResult>>): void {
  const all = Object.values(results);
  const missed = all.flatMap((result) => result.figures.filter((figure) => meets(figure) === false));
  if (missed.length > 0)
    process.stdout.write(`${missed.length} targets missed: ${missed.map((each) => each.what).join('; ')}\n`);
  const wrong = all.flatMap((result) => result.wrong);
  if (wrong.length === 0) return;
  process.stderr.write(`\nTHE TOTALS ARE NOT EXACT\n${wrong.join('\n')}\n`);
  process.exitCode = 1;
}

const interrupted = new Promise<NodeJS.Signals>((resolve) => {
  // More than once: `timeout` sends its signal twice, and the second must not cut the cleaning up short.
  process.on('SIGINT', resolve).on('SIGTERM', resolve);
});
// Whoever loses the race is still listened to: a case whose engines are taken away fails, and nobody needs to know.
const signal = await Promise.race([main(), interrupted]);
if (signal !== undefined) {
  process.stderr.write(`\n${signal}: stopping what was started …\n`);
  await closeWorlds();
  process.exit(130);
}
