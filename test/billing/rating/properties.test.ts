import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ComputedLine, MeasuredPlanSpan } from '../../../src/billing/invoice/invoice-input.ts';
import { fractionOf } from '../../../src/billing/money.ts';
import { unitAmount } from '../../../src/billing/rating/charge-unit.ts';
import { inPricedUnits, measured, METRICS } from '../../../src/billing/rating/metrics.ts';
import type { MeasuredUsage } from '../../../src/billing/rating/plan-content.ts';
import { prorated } from '../../../src/billing/rating/prorate.ts';
import { rateSpan } from '../../../src/billing/rating/rate-span.ts';
import { anyMonth } from './any-month.ts';
import { dec, NO_USAGE, OCTOBER } from './a-plan.ts';
import { Rational, sum } from './rational.ts';

const PRICE = dec('0.0537');

describe('metrics', () => {
  it('come in the order of the documentation, each over what its name says', () => {
    const each: MeasuredUsage = {
      cpuTimeNanos: 1n,
      memoryByteSeconds: 2n,
      diskReadBytes: 4n,
      diskWriteBytes: 8n,
      diskReadOps: 16n,
      diskWriteOps: 32n,
      networkRxBytes: 64n,
      networkTxBytes: 128n,
      observedNanos: 256n,
    };
    expect(METRICS.map((metric) => `${metric.id} ${measured(metric, each)} / ${metric.perUnit}`)).toEqual([
      'cpu 1 / 3600000000000',
      'memory 2 / 3600000000000',
      'memory_gib 2 / 3865470566400',
      'disk_io 12 / 1000000000',
      'disk_read 4 / 1000000000',
      'disk_write 8 / 1000000000',
      'network 192 / 1000000000',
      'network_rx 64 / 1000000000',
      'network_tx 128 / 1000000000',
      'disk_ops 48 / 1',
      'disk_read_ops 16 / 1',
      'disk_write_ops 32 / 1',
      'vm 256 / 3600000000000',
    ]);
  });

  it('are weighted sums, and refuse usage below zero', () => {
    const terms = [
      { quantity: 'diskReadOps', weight: 3n },
      { quantity: 'diskWriteOps', weight: 5n },
    ] as const;
    const metric = { id: 'ops', description: 'Operations', unit: 'operation', terms, perUnit: 1n };
    expect(measured(metric, { ...NO_USAGE, diskReadOps: 2n, diskWriteOps: 7n })).toBe(41n);
    expect(() => measured(metric, { ...NO_USAGE, diskReadOps: -1n })).toThrow('ops: diskReadOps of -1 is below 0');
  });
});

describe('the sum of the parts is the whole', () => {
  it('of a constant, to the last digit, however its time is split', () => {
    const seconds = (OCTOBER.end.getTime() - OCTOBER.start.getTime()) / 1000;
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: seconds - 1 }), { maxLength: 8 });
    fc.assert(
      fc.property(cuts, fc.bigInt({ min: 0n, max: 10n ** 9n }), fc.constantFrom(0, 2, 3), (at, units, digits) => {
        const constant = fractionOf({ units, scale: 2 });
        const edges = [0, ...at.toSorted((a, b) => a - b), seconds].map(
          (each) => new Date(OCTOBER.start.getTime() + each * 1000),
        );
        const parts = edges
          .slice(1)
          .map((end, index) => prorated(constant, { start: edges[index] ?? end, end }, OCTOBER, digits));
        const whole = prorated(constant, OCTOBER, OCTOBER, digits);
        expect(parts.reduce((total, part) => total + part.units, 0n)).toBe(whole.units);
      }),
    );
  });

  it('of what is used at a price per unit, before rounding', () => {
    const [cpu] = METRICS;
    if (cpu === undefined) throw new Error('no metric');
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 0n, max: 10n ** 20n }), { maxLength: 8 }), (parts) => {
        const exact = (nanos: bigint): Rational => {
          const { numerator, denominator } = unitAmount(inPricedUnits(cpu, nanos), PRICE).amount;
          return new Rational(numerator, denominator);
        };
        expect(sum(parts.map(exact))).toEqual(exact(parts.reduce((total, part) => total + part, 0n)));
      }),
    );
  });
});

describe('using more never costs less', () => {
  it('with any charges but volume ones, allowances, caps and minimums', () => {
    const more = fc.bigInt({ min: 0n, max: 10n ** 15n });
    fc.assert(
      fc.property(anyMonth(), fc.nat(3), more, (input, at, nanos) => {
        for (const span of input.spans.map(monotone)) {
          const usage = span.usage.map((each, index) => {
            const used = {
              cpuTimeNanos: each.observed.cpuTimeNanos + nanos,
              diskReadBytes: each.observed.diskReadBytes + nanos,
            };
            return index === at ? { ...each, observed: { ...each.observed, ...used } } : each;
          });
          const before = totalOf(rateSpan(span, input.period, input.currency, []));
          const after = totalOf(rateSpan({ ...span, usage }, input.period, input.currency, []));
          expect(after >= before, `${before} → ${after}`).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

/** Volume prices, discounts over several lines and overage below 100 % may cost less for more. */
function monotone(span: MeasuredPlanSpan): MeasuredPlanSpan {
  const charges = span.content.charges.filter(({ model }) => model.kind !== 'volume');
  return { ...span, content: { ...span.content, charges, discounts: [], commitment: undefined } };
}

function totalOf(lines: readonly ComputedLine[]): bigint {
  return lines.reduce((total, { amount }) => total + amount.units, 0n);
}
