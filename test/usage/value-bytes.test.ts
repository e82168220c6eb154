import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { inValues } from '../../src/usage/value-bytes.ts';

const VALUE_BYTES_MAX = 131_072;

/** As the client writes a list of texts, and as it stands in an address. */
function sentBytes(texts: readonly string[]): number {
  const list = `[${texts.map((text) => `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`).join(',')}]`;
  return new URLSearchParams({ v: list }).toString().length - 'v='.length;
}

const anyId = fc.oneof(
  fc.string({ minLength: 1, maxLength: 128 }),
  fc.string({ minLength: 1, maxLength: 32, unit: 'grapheme' }),
  fc.constantFrom("'".repeat(128), '\\'.repeat(128), 'я'.repeat(64), ' '.repeat(128), 'a'.repeat(128), '~*()!'),
);

it('puts whatever texts into lists that ClickHouse takes, in order, as few as that needs', () => {
  fc.assert(
    fc.property(fc.array(anyId, { maxLength: 40 }), fc.integer({ min: 1, max: 60 }), (some, times) => {
      const texts = Array.from({ length: times }, () => some).flat();
      const lists = inValues(texts, (text) => text, 1_000);
      expect(lists.flat()).toEqual(texts);
      for (const [at, list] of lists.entries()) {
        expect(sentBytes(list)).toBeLessThanOrEqual(VALUE_BYTES_MAX);
        const next = lists[at + 1]?.[0];
        // With the next it would be too long, or nearly: a few characters are counted as though they were escaped.
        if (next !== undefined && list.length < 1_000)
          expect(sentBytes([...list, next]) * 3.1).toBeGreaterThan(VALUE_BYTES_MAX);
      }
    }),
  );
});
