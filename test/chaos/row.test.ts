import { describe, expect, it } from 'vitest';
import { PLANTED_BUGS } from '../../chaos/planted-bugs.ts';
import { NONE, passes } from '../../chaos/row.ts';
import { ROWS } from '../../chaos/rows.ts';
import { missingTools } from '../../chaos/tools.ts';
import { LAYERS } from '../../chaos/without-checks.ts';
import { readFileSync } from 'node:fs';

describe('what a row found', () => {
  const limit = { lost: NONE, tried: { atLeast: 3 } };

  it('passes where every limit is kept and nothing is wrong', () => {
    expect(passes({ observed: { lost: 0, tried: 3, shown: 9 }, limit, wrong: [] })).toBe(true);
  });

  it.each([
    ['a limit is broken', { lost: 1, tried: 3 }, []],
    ['too little was tried', { lost: 0, tried: 2 }, []],
    ['a figure with a limit is not there', { tried: 3 }, []],
    ['a figure is no number', { lost: Number.NaN, tried: 3 }, []],
    ['something else is wrong', { lost: 0, tried: 3 }, ['batch 7']],
  ])('fails where %s', (_, observed: Record<string, number>, wrong) => {
    expect(passes({ observed, limit, wrong })).toBe(false);
  });
});

describe('the rows', () => {
  it('have names of their own, and more trials in full', () => {
    expect(new Set(ROWS.map((row) => row.name)).size).toBe(ROWS.length);
    expect(ROWS.filter((row) => row.trials.quick > row.trials.full).map((row) => row.name)).toEqual([]);
  });

  it('say which command is missing, and in which package it is', () => {
    expect(missingTools(['sh', 'fiu-no-such-command'])).toEqual([
      'fiu-no-such-command is not installed (Debian package fiu-no-such-command)',
    ]);
  });
});

describe('the planted bugs', () => {
  it('each stand in the code exactly once, and each is for a row', () => {
    const wrong = PLANTED_BUGS.filter(({ file, text, becomes, row }) => {
      const places = readFileSync(file, 'utf8').split(text).length - 1;
      return places !== 1 || text === becomes || !ROWS.some(({ name }) => name === row);
    });
    expect(wrong.map((bug) => bug.name)).toEqual([]);
  });
});

describe('the checks that a row cuts out', () => {
  it('each stand in the code exactly once', () => {
    const cuts = Object.values(LAYERS).flat();
    expect(cuts.filter(({ file, text }) => readFileSync(file, 'utf8').split(text).length !== 2)).toEqual([]);
  });
});
