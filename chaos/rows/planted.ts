import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { PLANTED_BUGS, type PlantedBug } from '../planted-bugs.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const COPIED = ['src', 'gen', 'chaos', 'test', 'bench', 'demo', 'package.json'];
const ROW_TIMEOUT_MS = 900_000;
const LOAD_TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** What a row of the copy found. `undefined`: it could not be tried. */
type Verdict = 'pass' | 'fail' | undefined;

export const planted: Row = {
  name: 'planted',
  promise: 'The rig itself: every planted bug is caught by its row, which passes without it.',
  trials: { full: PLANTED_BUGS.length, quick: 5 },
  tools: [],
  async run(context: Context): Promise<Finding> {
    const bugs = PLANTED_BUGS.slice(0, context.trials);
    const copy = join(context.folder, 'copy');
    await makeCopy(copy);
    const counts = { planted: 0, caught: 0, controls: 0, controlsFailed: 0 };
    const wrong: string[] = [];
    const controls = new Map(bugs.map((bug) => [bug.row, bug.trials]));
    for (const [row, trials] of controls) {
      counts.controls++;
      if ((await runRow(copy, row, trials, context.seed)) === 'pass') continue;
      counts.controlsFailed++;
      wrong.push(`row ${row} does not pass without a planted bug`);
    }
    for (const bug of bugs) {
      counts.planted++;
      const verdict = await withBug(copy, bug, () => runRow(copy, bug.row, bug.trials, context.seed));
      if (verdict === 'fail') counts.caught++;
      else wrong.push(`"${bug.name}" was ${verdict === 'pass' ? 'not caught' : 'not tried'} by row ${bug.row}`);
      context.note(`${bug.name}: ${verdict === 'fail' ? 'caught' : 'NOT CAUGHT'} by ${bug.row}`);
    }
    const limit = { planted: { atLeast: bugs.length }, caught: { atLeast: bugs.length }, controlsFailed: NONE };
    return { observed: counts, limit, wrong };
  },
};

async function makeCopy(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of COPIED) await cp(join(CHECKOUT, name), join(folder, name), { recursive: true });
  await symlink(join(CHECKOUT, 'node_modules'), join(folder, 'node_modules'));
}

/** @throws Error where the text is not in the file exactly once, or the file does not load with the bug: it was not planted */
async function withBug<T>(copy: string, bug: PlantedBug, work: () => Promise<T>): Promise<T> {
  const path = join(copy, bug.file);
  const before = await readFile(path, 'utf8');
  const places = before.split(bug.text).length - 1;
  if (places !== 1) throw new Error(`the text of "${bug.name}" is ${places} times in ${bug.file}, not once`);
  await writeFile(
    path,
    before.replace(bug.text, () => bug.becomes),
  );
  try {
    // A row that cannot even start has caught nothing.
    await load(path);
    return await work();
  } finally {
    await writeFile(path, before);
  }
}

/** @throws Error with what is wrong with it */
async function load(path: string): Promise<void> {
  const code = `await import(${JSON.stringify(pathToFileURL(path).href)})`;
  await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], { timeout: LOAD_TIMEOUT_MS });
}

function runRow(copy: string, row: string, trials: number, seed: number): Promise<Verdict> {
  const args = ['chaos/main.ts', row, '--json', '--trials', String(trials), '--seed', String(seed)];
  const options = { cwd: copy, timeout: ROW_TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX };
  return new Promise((resolve) => {
    execFile(process.execPath, args, options, (_, stdout) => resolve(verdictOf(stdout)));
  });
}

function verdictOf(stdout: string): Verdict {
  const [line = ''] = stdout.split('\n');
  // A row that does not live to say anything was ended by the bug: without one it ends by itself, as its control shows.
  if (line === '') return 'fail';
  const said: { pass: boolean; tried: boolean } = JSON.parse(line);
  if (!said.tried) return undefined;
  return said.pass ? 'pass' : 'fail';
}
