import { describe, expect, it } from 'vitest';
import { readFileSync } from 'node:fs';
import { figuresTable } from '../../chaos/figures.ts';
import { ROWS } from '../../chaos/rows.ts';

const QUICK = {
  row: 'kill',
  trials: 30,
  isFull: false,
  observed: { kills: 30, acknowledged: 17_080 },
  pass: true,
  seed: 7,
  seconds: 118,
  at: '2026-11-21T20:00:00.000Z',
  commit: 'abc1234',
};
const tableOf = (...lines: readonly object[]): string[] => {
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  return figuresTable(text, ['model', 'kill']).trimEnd().split('\n').slice(2);
};

describe('the table of figures', () => {
  it('says of each row what was seen, when, on which code, and how to see it again', () => {
    expect(tableOf(QUICK)).toEqual([
      '| `kill` | 30, quick | 118 s | kills 30, acknowledged 17,080 | 2026-11-21 | abc1234 | `kill --seed 7` |',
    ]);
  });

  it('keeps the order of the rig, and of a row the latest full run', () => {
    const full = { ...QUICK, isFull: true, trials: 1000, seconds: 3600 };
    const [model, kill, ...more] = tableOf(
      full,
      { ...QUICK, at: '2026-11-22T00:00:00.000Z' },
      { ...QUICK, row: 'model' },
    );
    expect(model).toContain('`model`');
    expect(kill).toContain('| 1,000 | 60 min |');
    expect(kill).toContain('`kill --full --seed 7`');
    expect(more).toEqual([]);
    expect(tableOf(QUICK, { ...QUICK, at: '2026-11-22T00:00:00.000Z' })[0]).toContain('2026-11-22');
  });

  it('takes nothing that did not pass, and no line of anything else', () => {
    expect(() => tableOf({ ...QUICK, pass: false })).toThrow('row kill of 2026-11-21T20:00:00.000Z did not pass');
    expect(() => tableOf({ row: 'kill' })).toThrow('trials');
    expect(() => figuresTable('seed 7', [])).toThrow('JSON');
  });
});

it('is the one in docs/reliability.md', () => {
  const order = ROWS.map(({ name }) => name);
  const table = figuresTable(readFileSync('docs/reliability.jsonl', 'utf8'), order);
  expect(readFileSync('docs/reliability.md', 'utf8')).toContain(table);
});
