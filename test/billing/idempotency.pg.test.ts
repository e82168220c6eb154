import { randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { once } from '../../src/billing/idempotency.ts';
import { postgresForTest } from '../database.ts';

const { db } = await postgresForTest();
const AT = new Date('2026-10-11T00:00:00Z');
const made: string[] = [];

function write(key: string, input: unknown, fail = false): Promise<string> {
  return db.transaction().execute((transaction) => {
    const make = async (id: string) => {
      if (fail) throw new Error('not now');
      made.push(id);
      return `made ${id}`;
    };
    return once(transaction, { operation: 'test', key, input, at: AT }, make, async (id) => `made ${id}`);
  });
}

describe('a write with a key', () => {
  it('is made once, however often and at once it is asked for', async () => {
    const key = randomUUIDv7();
    const all = await Promise.all(Array.from({ length: 6 }, () => write(key, { amount: 10n, at: AT, lines: [1, 2] })));
    expect(new Set(all).size).toBe(1);
    expect(await write(key, { lines: [1, 2], at: AT, amount: 10n })).toBe(all[0]);
    expect(made.filter((id) => all[0] === `made ${id}`)).toHaveLength(1);
  });

  it.each([
    [{ amount: 11n }, { amount: 10n }],
    [{ lines: [1, 2] }, { lines: [2, 1] }],
    [{ at: AT }, { at: new Date(0) }],
    [{}, { reason: '' }],
  ])('is refused for %o where the key was used for %o', async (input, before) => {
    const key = randomUUIDv7();
    await write(key, before);
    const again = write(key, input);
    await expect(again).rejects.toMatchObject({ kind: 'already_exists', field: 'idempotency_key' });
  });

  it('that failed leaves its key free', async () => {
    const key = randomUUIDv7();
    await expect(write(key, 1, true)).rejects.toThrow('not now');
    expect(await write(key, 2)).toContain('made');
  });

  it.each(['', 'x'.repeat(129), 'a\u0000'])('needs a key, not %j', async (key) => {
    await expect(write(key, 1)).rejects.toMatchObject({ kind: 'invalid_argument', field: 'idempotency_key' });
  });
});
