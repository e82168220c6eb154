import { assert, bigInt, property } from 'fast-check';
import { expect, it } from 'vitest';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { instant, shown } from '../../src/cli/values.ts';

it('reads every instant that it shows, to the nanosecond', () => {
  assert(
    property(bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }), (nanosOf1970) => {
      const nanos = Number(nanosOf1970 % 1_000_000_000n);
      const timestamp = { ...timestampFromMs(0), seconds: nanosOf1970 / 1_000_000_000n, nanos };
      expect(instant(shown(timestamp))).toEqual(timestamp);
    }),
  );
});

it('shows no more digits than there are, three at a time', () => {
  const at = { ...timestampFromMs(Date.UTC(2026, 8, 1, 10)), nanos: 0 };
  const texts = [0, 500_000_000, 120_000, 7].map((nanos) => shown({ ...at, nanos }));
  expect(texts.map((text) => text.slice(19))).toEqual(['Z', '.500Z', '.000120Z', '.000000007Z']);
  expect(shown(undefined)).toBe('');
});

it('takes days and offsets, and nothing that is no instant', () => {
  expect(instant('2026-09-01')).toEqual(instant('2026-09-01T02:00+02:00'));
  expect(instant('2026-09-01T10:00:00.5Z').nanos).toBe(500_000_000);
  for (const text of [
    '2026-09-01T10:00:00',
    '2026-13-01',
    '2026-09-01T10:00.5Z',
    'today',
    '2026-02-29',
    '2026-06-31T00:00:00Z',
    '2026-09-01T10:00:00.1234567890Z',
  ]) {
    expect(() => instant(text), text).toThrow('such as');
  }
});
