import { parseArgs } from 'node:util';
import type { Options } from './case.ts';

export const USAGE = `Usage: npm run bench [-- CASE …] [options]

Cases: ingest, query, live, rollup, invoice, spool, dedup, peers. All of them in about five minutes where none is named;
a case that is named takes its full size. Only where they are named: growth, shard, collectors, profile.

  --json FILE         writes all figures
  --seconds N         ingest: how long the stored rate is measured (60; 20 where no case is named)
                      growth, shard, collectors, profile: no run takes longer than this
  --windows N|small   query, rollup, spool, dedup: how many windows; growth: how many are stored before, at most
  --customers N,N     invoice: how many customers
  --vms N             ingest: how many VMs run at once (15,360); growth: at most
  --url URL --key KEY drives a meterd that runs elsewhere, with a collector's key: ingest only, no ceiling, no exactness
`;

export interface Command {
  readonly cases: readonly string[];
  readonly options: Options;
  readonly jsonFile: string | undefined;
}

const SECONDS = 60;
const SECONDS_BRIEF = 20;
const WINDOWS_SMALL = 100_000;

/**
 * @param usual the cases that run where none is named
 * @param onRequest those that run only where they are named
 * @returns `undefined` where help is asked for
 * @throws Error naming what is wrong
 */
export function parseCommand(
  args: readonly string[],
  usual: readonly string[],
  onRequest: readonly string[],
): Command | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      seconds: { type: 'string' },
      windows: { type: 'string' },
      customers: { type: 'string' },
      vms: { type: 'string' },
      url: { type: 'string' },
      key: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return undefined;
  const known = [...usual, ...onRequest];
  for (const name of positionals) {
    if (!known.includes(name)) throw new Error(`case "${name}" is none of ${known.join(', ')}`);
  }
  const remote = remoteOf(values.url, values.key);
  const isBrief = positionals.length === 0 && remote === undefined;
  const named = positionals.length === 0 ? usual : known.filter((name) => positionals.includes(name));
  return {
    cases: remote === undefined ? named : named.filter((name) => name === 'ingest'),
    jsonFile: values.json,
    options: {
      seconds: whole('--seconds', values.seconds) ?? (isBrief ? SECONDS_BRIEF : SECONDS),
      windows: values.windows === 'small' ? WINDOWS_SMALL : whole('--windows', values.windows),
      customers: values.customers?.split(',').map((count) => whole('--customers', count) ?? 0),
      vms: whole('--vms', values.vms),
      remote,
      isBrief,
    },
  };
}

function remoteOf(url: string | undefined, key: string | undefined): Options['remote'] {
  if (url === undefined && key === undefined) return undefined;
  if (url === undefined || key === undefined) throw new Error('--url and --key go together');
  return { url, key };
}

function whole(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const digits = value.replaceAll('_', '');
  if (!/^[1-9]\d{0,9}$/.test(digits)) throw new Error(`${name} ${value} is not a whole number of at least 1`);
  return Number(digits);
}
