import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { RowScan } from '../../src/ingest/row-scan.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };
const window = parseWindow(aWindow(), anySender, bounds);
const provenance = { credentialId: 'k', instanceId: 'i', sequence: 0n, receivedAtNanos: 1n };
const BASE = (BigInt(NOW_MS) * 1_000_000n) / 3_600_000_000_000n - 10n;

interface Report {
  readonly customer: number;
  readonly vm: number;
  /** Nanoseconds since `BASE`, and how long. */
  readonly start: bigint;
  readonly length: bigint;
  readonly cpu: bigint;
}

function keyOf({ customer, vm, start, length }: Report): string {
  return `${customer} ${vm} ${start} ${length}`;
}

function rowOf({ customer, vm, start, length, cpu }: Report): RowBatch {
  const rows = new RowBatch(1, provenance);
  const startNanos = BASE * 3_600_000_000_000n + start;
  const ids = { customerId: `customer-${customer}`, vmId: `vm-${vm}` };
  rows.addWindow({ ...window, ...ids, startNanos, endNanos: startNanos + length, cpuTimeNanos: cpu });
  return rows;
}

const report = fc.record({
  customer: fc.nat(1),
  vm: fc.nat(3),
  start: fc.oneof(
    fc.bigInt({ min: 0n, max: 40n }).map((n) => n * 60_000_000_000n * 7n),
    fc.bigInt({ min: 0n, max: 5n }),
  ),
  length: fc.constantFrom(1n, 2n, 60_000_000_000n),
  cpu: fc.bigInt({ min: 0n, max: 2n }),
});

/** Of so few windows that most are reported again, with other values too. */
const crowded = fc.record({
  customer: fc.nat(1),
  vm: fc.nat(1),
  start: fc.constantFrom(0n, 1n),
  length: fc.constant(1n),
  cpu: fc.constantFrom(0n, 1n),
});

describe('RecentWindows', () => {
  it('answers as a plain map would, in any order', () => {
    fc.assert(
      fc.property(fc.array(report, { maxLength: 200 }), (reports) => {
        const recent = new RecentWindows(10_000);
        const model = new Map<string, bigint>();
        for (const each of reports) {
          const key = keyOf(each);
          const known = model.get(key);
          const expected = known === undefined ? 'new' : known === each.cpu ? 'duplicate' : 'conflict';
          if (known === undefined) model.set(key, each.cpu);
          expect(recent.take(rowOf(each).head, 0)).toBe(expected);
        }
      }),
    );
  });

  it('takes no other value for the same where half of their hashes is', () => {
    const recent = new RecentWindows(10_000);
    const scan = new RowScan(rowOf({ customer: 0, vm: 0, start: 0n, length: 1n, cpu: 0n }).block());
    scan.next();
    const { customer, vm, hour, offsetNanos, lengthNanos, hashLow, hashHigh } = scan;
    const head = { customer, vm, hour, offsetNanos, lengthNanos, hashLow, hashHigh };
    expect(recent.take(head, 0)).toBe('new');
    expect(recent.take({ ...head, hashHigh: hashHigh ^ 1 }, 0)).toBe('conflict');
    expect(recent.take({ ...head, hashLow: hashLow ^ 1 }, 0)).toBe('conflict');
    expect(recent.take(head, 0)).toBe('duplicate');
  });

  it('forgets exactly what a failed batch brought', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(report, crowded), { minLength: 1, maxLength: 60 }), fc.nat(59), (reports, cut) => {
        const recent = new RecentWindows(10_000);
        const kept = new Set<string>();
        const failed: Report[] = [];
        const sync = { done: undefined };
        const batch = recent.begin(sync);
        for (const [i, each] of reports.entries()) {
          const known = recent.take(rowOf(each).head, i < cut ? 0 : batch);
          if (i < cut && known === 'new') kept.add(keyOf(each));
          // Conflicting reports are rows of their batch, too.
          if (i >= cut && known !== 'duplicate') failed.push(each);
        }
        for (const each of failed) recent.forget(new RowScan(rowOf(each).block()), batch);
        for (const each of reports) {
          const key = keyOf(each);
          const known = recent.take(rowOf(each).head, 0);
          if (kept.has(key)) expect(known).not.toBe('new');
          else expect(known).toBe('new');
          kept.add(key);
        }
      }),
    );
  });

  it('finds the sync that a duplicate has to wait for, until it has ended', () => {
    const recent = new RecentWindows(1000);
    const sync = { done: undefined };
    const row = rowOf({ customer: 0, vm: 1, start: 0n, length: 1n, cpu: 1n }).head;
    const batch = recent.begin(sync);
    recent.take(row, batch);
    expect(recent.take(row, recent.begin({ done: undefined }))).toBe('duplicate');
    expect(recent.syncOf(row)).toBe(sync);
    recent.end(batch);
    expect(recent.syncOf(row)).toBeUndefined();
  });

  it('learns from blocks what was stored before, and the first of two reports stays', () => {
    const recent = new RecentWindows(1000);
    const first = { customer: 0, vm: 1, start: 0n, length: 1n, cpu: 1n };
    for (const each of [first, { ...first, cpu: 2n }, { ...first, vm: 2 }])
      recent.warm(new RowScan(rowOf(each).block()));
    expect(recent.take(rowOf(first).head, 0)).toBe('duplicate');
    expect(recent.take(rowOf({ ...first, cpu: 2n }).head, 0)).toBe('conflict');
    expect(recent.take(rowOf({ ...first, vm: 2 }).head, 0)).toBe('duplicate');
    expect(recent.take(rowOf({ ...first, vm: 3 }).head, 0)).toBe('new');
  });

  it('holds no more than its bound, and forgets what was seen longest ago', () => {
    const recent = new RecentWindows(600);
    for (let vm = 0; vm < 1000; vm++) {
      for (let minute = 0n; minute < 60n; minute++) {
        recent.take(
          rowOf({ customer: 0, vm, start: minute * 60_000_000_000n, length: 60_000_000_000n, cpu: 1n }).head,
          0,
        );
      }
    }
    const at = (vm: number) =>
      recent.take(rowOf({ customer: 0, vm, start: 0n, length: 60_000_000_000n, cpu: 1n }).head, 0);
    expect(at(999)).toBe('duplicate');
    expect(at(995)).toBe('duplicate');
    expect(at(0)).toBe('new');
    expect(at(900)).toBe('new');
  });
});
