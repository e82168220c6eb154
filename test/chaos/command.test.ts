import { describe, expect, it } from 'vitest';
import { parseCommand } from '../../chaos/command.ts';

const parse = (...args: string[]) => parseCommand(args, ['model', 'kill', 'audit']);

describe('the command line', () => {
  it('runs every row, quick, where none is named', () => {
    expect(parse()).toEqual({
      rows: ['model', 'kill', 'audit'],
      isFull: false,
      isJson: false,
      isList: false,
      isMarkdown: false,
      seed: undefined,
      trials: undefined,
    });
  });

  it('runs what is named, in the order of the rig', () => {
    expect(parse('audit', 'model', '--full', '--json', '--seed', '7')).toMatchObject({
      rows: ['model', 'audit'],
      isFull: true,
      isJson: true,
      seed: 7,
    });
  });

  it('names what is wrong', () => {
    expect(() => parse('kil')).toThrow('row "kil" is none of model, kill, audit');
    expect(() => parse('--quick', '--full')).toThrow('--quick and --full exclude each other');
    expect(() => parse('--trials', '0')).toThrow('--trials 0 is not a whole number from 1 to 1000000000');
    expect(() => parse('--seed', '4294967296')).toThrow('--seed 4294967296 is not a whole number from 0 to 4294967295');
  });

  it('tells its usage where it is asked for', () => {
    expect(parse('--help')).toBe(undefined);
  });
});
