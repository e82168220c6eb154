import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { tool } from './tools.ts';

const run = promisify(execFile);

/**
 * What a wrapper such as `fiu-run` sets in the environment of the command that it runs, so that meterd can be started
 * with the same: the libraries that it loads first, and their options.
 * @param names starts of the variables' names
 */
export async function environmentOf(
  command: string,
  args: readonly string[],
  names: readonly string[],
): Promise<Record<string, string>> {
  const { stdout } = await run(tool(command), [...args, 'env', '-0']);
  const pairs = stdout.split('\0').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
  return Object.fromEntries(pairs.filter(([name]) => names.some((start) => name?.startsWith(start))));
}
