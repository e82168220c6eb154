import { describe, expect, it } from 'vitest';
import { stepsTo } from '../../../bench/profile/insert-ladder.ts';

const SORTED = 'ReplacingMergeTree(precedence) PARTITION BY toYYYYMM(window_start) ORDER BY (a, b) SETTINGS x = 1';

describe('the ladder to a table', () => {
  it('does one thing more at each step, and ends with the table', () => {
    const unsorted = 'MergeTree PARTITION BY toYYYYMM(window_start) ORDER BY tuple() SETTINGS x = 1';
    expect(stepsTo(SORTED).map(({ engine, merges }) => [engine, merges])).toEqual([
      ['Null', false],
      [`${unsorted}, auto_statistics_types = ''`, false],
      [unsorted, false],
      [SORTED, false],
      [SORTED, true],
    ]);
  });

  it('says so where the table is of another kind', () => {
    expect(() => stepsTo('Log')).toThrow('no sorted ReplacingMergeTree with settings: Log');
    expect(() => stepsTo('MergeTree ORDER BY a SETTINGS x = 1')).toThrow('MergeTree ORDER BY a');
  });
});
