import { describe, expect, it } from 'vitest';
import { parseCommand } from '../../bench/command.ts';

const parse = (...args: string[]) => parseCommand(args, ['ingest', 'spool'], ['growth', 'shard']);

describe('the command line', () => {
  it('runs the usual cases, in brief, where none is named', () => {
    expect(parse()).toMatchObject({ cases: ['ingest', 'spool'], options: { isBrief: true, seconds: 20 } });
  });

  it('runs what is named and nothing else, at its full size, in the order of the suite', () => {
    expect(parse('shard', 'spool')).toMatchObject({ cases: ['spool', 'shard'], options: { isBrief: false } });
  });

  it('drives a meterd elsewhere with ingest alone', () => {
    const remote = { url: 'http://meterd:8080', key: 'k' };
    expect(parse('--url', remote.url, '--key', remote.key)).toMatchObject({ cases: ['ingest'], options: { remote } });
    expect(() => parse('--url', remote.url)).toThrow('--url and --key go together');
  });

  it('names what is wrong', () => {
    expect(() => parse('grwth')).toThrow('case "grwth" is none of ingest, spool, growth, shard');
    expect(() => parse('growth', '--vms', '0')).toThrow('--vms 0 is not a whole number of at least 1');
  });

  it('takes sizes with underscores and in words', () => {
    const { options } = parse('growth', '--vms', '1_000_000', '--windows', 'small') ?? {};
    expect(options).toMatchObject({ vms: 1_000_000, windows: 100_000 });
  });
});
