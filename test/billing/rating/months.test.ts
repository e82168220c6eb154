import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { computeInvoice } from '../../../src/billing/invoice/compute-invoice.ts';
import { decodeInput } from '../../../src/billing/invoice/input-text.ts';
import type { InvoiceInput, SpanUsage } from '../../../src/billing/invoice/invoice-input.ts';
import { formatDecimal } from '../../../src/billing/money.ts';
import { anyMonth, CURRENCIES } from './any-month.ts';
import { shown } from './a-plan.ts';
import { Rational, rational, sum } from './rational.ts';
import { type ReferenceInvoice, referenceInvoice } from './reference.ts';

const MONTHS = 10_000;

function digitsOf({ currency }: InvoiceInput): number {
  return CURRENCIES.find(([code]) => code === currency)?.[1] ?? 0;
}

function computed(input: InvoiceInput): ReferenceInvoice {
  const invoice = computeInvoice(input);
  return {
    lines: invoice.computed.map((line) => `${line.kind} ${line.chargeId} ${formatDecimal(line.amount)}`),
    taxes: invoice.taxes.map(({ base, amount }) => `${formatDecimal(base)} ${formatDecimal(amount)}`),
    total: invoice.total,
  };
}

describe('any month', () => {
  it(`is rated as the slow reference rates it: ${MONTHS} of them`, () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(anyMonth(), (input) => {
        const reference = referenceInvoice(input, digitsOf(input));
        for (const line of reference.lines) kinds.add(line.split(' ')[0] ?? '');
        expect(computed(input)).toEqual(reference);
      }),
      { numRuns: MONTHS },
    );
    // The months had something of everything in them.
    expect([...kinds].toSorted()).toEqual(
      ['cap', 'commitment', 'discount', 'flat', 'manual', 'minimum', 'overage', 'usage'].toSorted(),
    );
  });

  it('has lines that come to its totals', () => {
    fc.assert(
      fc.property(anyMonth(), (input) => {
        const { lines, taxes, net, tax, total, pricesIncludeTax } = computeInvoice(input);
        const digits = digitsOf(input);
        const text = (amount: string): Rational => new Rational(BigInt(amount.replace('.', '')), 10n ** BigInt(digits));
        const ofLines = sum(lines.map(({ amount }) => text(amount)));
        expect(lines.every(({ amount }) => (amount.split('.')[1] ?? '').length === digits)).toBe(true);
        expect(sum(taxes.map(({ amount }) => rational(amount)))).toEqual(text(tax));
        expect(text(net).plus(text(tax))).toEqual(text(total));
        expect(ofLines).toEqual(text(pricesIncludeTax ? total : net));
      }),
    );
  });

  it('is the same to the last digit in another order, with regions in parts, and computed again from its text', () => {
    fc.assert(
      fc.property(anyMonth(), fc.bigInt({ min: 0n, max: 10n ** 13n }), (input, at) => {
        const invoice = computeInvoice(input);
        expect(computeInvoice(decodeInput(invoice.input))).toEqual(invoice);
        const turned = {
          ...input,
          spans: input.spans.map((span) => ({ ...span, usage: span.usage.toReversed() })).toReversed(),
        };
        expect(computeInvoice(turned)).toEqual(invoice);
        const inParts = { ...input, spans: input.spans.map((span) => ({ ...span, usage: cut(span.usage, at) })) };
        expect(computeInvoice(inParts).lines).toEqual(invoice.lines);
      }),
    );
  });

  it('has regions that add up to their line', () => {
    fc.assert(
      fc.property(anyMonth(), (input) => {
        for (const line of computeInvoice(input).computed.filter(({ kind }) => kind === 'usage')) {
          expect(sum(line.regions.map(({ quantity }) => rational(quantity))), shown(line)).toEqual(
            rational(line.quantity),
          );
        }
      }),
    );
  });
});

/** The same usage, as rows of VMs would be: each row cut in two. */
function cut(usage: readonly SpanUsage[], at: bigint): SpanUsage[] {
  return usage.flatMap((each) => {
    const first = at < each.observed.cpuTimeNanos ? at : each.observed.cpuTimeNanos;
    const rest = each.observed.cpuTimeNanos - first;
    const none = { ...each.estimated, cpuTimeNanos: 0n, observedNanos: 0n };
    return [
      { ...each, observed: { ...each.observed, cpuTimeNanos: first } },
      { ...each, observed: { ...none, cpuTimeNanos: rest }, estimated: none },
    ];
  });
}
