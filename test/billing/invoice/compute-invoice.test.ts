import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { computeInvoice, hashLines, toInvoiceTax } from '../../../src/billing/invoice/compute-invoice.ts';
import { decodeInput, encodeInput } from '../../../src/billing/invoice/input-text.ts';
import type { InvoiceInput, SpanUsage } from '../../../src/billing/invoice/invoice-input.ts';
import { advanceFees } from '../../../src/billing/rating/advance.ts';
import {
  amountOff,
  charge,
  coreHours,
  dec,
  flat,
  invoiceInput,
  OCTOBER,
  percentOff,
  plan,
  SEPTEMBER,
  septemberDays,
  shown,
  span,
  tiers,
  unit,
  used,
} from '../rating/a-plan.ts';

const VAT = { name: 'VAT', percent: dec('19') };

describe('the worked example', () => {
  // A month of 30 days, each window one minute: a core fully used, 4 GB of memory, 1 MB each way on disk and network.
  // Two VMs run all month in region A; a third runs from day 13 in region B.
  const metrics = ['cpu', 'memory', 'disk_io', 'network', 'vm'];
  const prices = ['0.05', '0.02', '0.01', '0.01', '0'];
  const charges = metrics.map((metric, index) => charge(unit(prices[index] ?? ''), { chargeId: metric, metric }));
  const usage = [ofWindows('b', 18n * 1440n), ofWindows('a', 2n * 30n * 1440n)];
  const invoice = computeInvoice(invoiceInput({ currency: 'USD', spans: [span(plan({ charges }), usage)] }));

  it('comes to 247.86 USD and 1,872 VM-hours', () => {
    expect(
      invoice.lines.map(({ description, quantity, unit: of, unitPrice, amount }) => {
        return [description, quantity, of, unitPrice, amount];
      }),
    ).toEqual([
      ['CPU', '1872', 'core-hour', '0.05', '93.60'],
      ['Memory', '7488', 'GB-hour', '0.02', '149.76'],
      ['Disk I/O', '224.64', 'GB', '0.01', '2.25'],
      ['Network', '224.64', 'GB', '0.01', '2.25'],
      ['VM time', '1872', 'VM-hour', '0', '0.00'],
    ]);
    expect(invoice.total).toBe('247.86');
  });

  it('shows each region, in order', () => {
    const regions = invoice.lines.map((line) => line.regions.map(({ region, quantity }) => `${region} ${quantity}`));
    expect(regions.slice(0, 2)).toEqual([
      ['a 1440', 'b 432'],
      ['a 5760', 'b 1728'],
    ]);
  });
});

describe('a plan change in the middle of an hour', () => {
  it('prices each part by itself', () => {
    const of = (price: string, seconds: bigint, start: string, end: string) => {
      const usage = [used('eu', { cpuTimeNanos: seconds * 1_000_000_000n })];
      const at = { start: new Date(start), end: new Date(end), planId: price };
      return span(plan({ charges: [charge(unit(price))] }), usage, at);
    };
    const spans = [
      of('0.10', 930n, '2026-09-01T00:00:00Z', '2026-09-10T10:15:30Z'),
      of('0.20', 2670n, '2026-09-10T10:15:30Z', '2026-10-01T00:00:00Z'),
    ];
    const { lines, total } = computeInvoice(invoiceInput({ spans }));
    expect(lines.map(({ amount }) => amount)).toEqual(['0.03', '0.15']);
    expect(lines[0]?.quantity).toBe('0.25833333333333333333333333333333333333');
    expect(total).toBe('0.18');
  });
});

describe('a fee in advance', () => {
  const content = plan({ charges: [charge(flat('100.00', true), { chargeId: 'fee' })] });
  const { usage: _usage, ...planned } = span(content, []);
  const next = { period: OCTOBER, spans: [{ ...planned, start: OCTOBER.start, end: OCTOBER.end }] };
  const billedInAdvance = advanceFees(planned, SEPTEMBER, 'EUR');
  const linesOf = (more: Partial<InvoiceInput>): string[] => {
    return computeInvoice(invoiceInput(more)).computed.map(
      (line) => `${shown(line)} ${line.start.toISOString().slice(5, 10)}`,
    );
  };

  it('is on the invoice of the period before, and the first one has its own too', () => {
    expect(linesOf({ spans: [span(content, [])], next })).toEqual(['flat fee 100.00 09-01', 'flat fee 100.00 10-01']);
    expect(linesOf({ spans: [span(content, [])], next, billedInAdvance })).toEqual(['flat fee 100.00 10-01']);
  });

  it('is settled where something else held', () => {
    const ended = [span(content, [], septemberDays(0, 12))];
    expect(linesOf({ spans: ended, billedInAdvance })).toEqual(['flat fee -60.00 09-01']);
    expect(linesOf({ spans: [], billedInAdvance })).toEqual(['flat fee -100.00 09-01']);
    const dearer = plan({ charges: [charge(flat('200', true), { chargeId: 'fee' })] });
    const changed = [...ended, span(dearer, [], { ...septemberDays(12, 30), planVersion: 2 })];
    expect(linesOf({ spans: changed, billedInAdvance })).toEqual(['flat fee -60.00 09-01', 'flat fee 120.00 09-13']);
  });

  it('is settled at the rate that it was billed at', () => {
    const at = (rate: string) => ({ fromCurrency: 'USD', rate: dec(rate), day: '2026-08-31', source: 'ECB' });
    const billed = advanceFees({ ...planned, exchange: at('0.9') }, SEPTEMBER, 'EUR');
    const held = (until: number) => [span(content, [], { ...septemberDays(0, until), exchange: at('0.8') })];
    expect(linesOf({ spans: held(30), billedInAdvance: billed })).toEqual([]);
    expect(linesOf({ spans: held(15), billedInAdvance: billed })).toEqual(['flat fee -45.00 09-01']);
  });

  it('counts for the discounts and minimums of the period that it is for', () => {
    const terms = { ...content, discounts: [percentOff('10', 1)], minimum: dec('95') };
    const lines = linesOf({ spans: [span(terms, [])], billedInAdvance });
    expect(lines).toEqual(['discount discount:1 -10.00 09-01', 'minimum 5.00 09-01']);
  });
});

describe('manual lines and adjustments', () => {
  it('come last, with their tax', () => {
    const spans = [span(plan({ charges: [charge(unit('1'))] }), [coreHours('10')])];
    const [line] = computeInvoice(invoiceInput({ spans })).computed;
    if (line === undefined) throw new Error('no line');
    const manual = {
      manualLineId: 'm',
      description: 'Setup',
      quantity: dec('1.5'),
      unit: 'hour',
      unitPrice: dec('0.03'),
    };
    const invoice = computeInvoice(
      invoiceInput({
        spans,
        adjustments: [
          { ...line, kind: 'adjustment', chargeId: 'usage/c', amount: dec('-2.00'), adjustsInvoiceId: 'i' },
        ],
        manualLines: [{ ...manual, at: septemberDays(3, 4).start, taxable: false }],
        tax: { treatment: 'standard', region: 'de', rates: [VAT], pricesIncludeTax: false },
      }),
    );
    expect(invoice.computed.map(shown)).toEqual(['usage c 10.00', 'adjustment usage/c -2.00', 'manual 0.04']);
    expect(invoice).toMatchObject({ net: '8.04', tax: '1.52', total: '9.56', pricesIncludeTax: false });
  });
});

describe('totals', () => {
  it('with the tax in the prices are the sum of the lines', () => {
    const spans = [span(plan({ charges: [charge(unit('119'))] }), [coreHours('1')])];
    const tax = { treatment: 'standard', region: 'de', rates: [VAT], pricesIncludeTax: true } as const;
    expect(computeInvoice(invoiceInput({ spans, tax }))).toMatchObject({
      net: '100.00',
      tax: '19.00',
      total: '119.00',
      pricesIncludeTax: true,
    });
  });

  it('of nothing are 0', () => {
    expect(computeInvoice(invoiceInput({}))).toMatchObject({
      lines: [],
      taxes: [],
      net: '0.00',
      tax: '0.00',
      total: '0.00',
    });
  });
});

const RICH = richInput();

describe('the input', () => {
  it('is read back from its text as it was', () => {
    const text = encodeInput(RICH);
    expect(decodeInput(text)).toEqual(RICH);
    expect(encodeInput(decodeInput(text))).toBe(text);
    const { input, inputHash } = computeInvoice(RICH);
    expect(input).toBe(text);
    expect(inputHash).toEqual(createHash('sha256').update(text).digest());
    expect(computeInvoice(decodeInput(text))).toEqual(computeInvoice(RICH));
  });

  it('changes nothing by its order', () => {
    const turned = {
      ...RICH,
      spans: RICH.spans.toReversed().map((each) => ({ ...each, usage: each.usage.toReversed() })),
      discounts: RICH.discounts.toReversed(),
      manualLines: RICH.manualLines.toReversed(),
    };
    expect(computeInvoice(turned)).toEqual(computeInvoice(RICH));
  });

  it('has another hash for any other input, though the lines may be the same', () => {
    const before = computeInvoice(RICH);
    const other = computeInvoice({ ...RICH, timeZone: 'Europe/Berlin' });
    expect(other.linesHash).toEqual(before.linesHash);
    expect(other.inputHash).not.toEqual(before.inputHash);
  });
});

describe('the hash of the lines', () => {
  const { lines, taxes, linesHash } = computeInvoice(RICH);
  const taxTexts = taxes.map(toInvoiceTax);

  it('is another for any other line', () => {
    expect(hashLines(lines, taxTexts)).toEqual(linesHash);
    const texts = ['chargeId', 'meter', 'description', 'quantity', 'unit', 'included', 'estimated', 'unitPrice'];
    const more = ['amount', 'planId', 'adjustsInvoiceId', 'manualLineId'];
    const changes: Record<string, unknown>[] = [
      ...[...texts, ...more].map((key) => ({ [key]: 'x' })),
      { kind: 'cap' },
      { start: new Date(0) },
      { end: new Date(0) },
      { planVersion: 9 },
      { regions: [] },
      { taxable: false },
      { tiers: [{ quantity: '1', unitPrice: '1', flatAmount: '1', amount: '1' }] },
      { exchange: { fromCurrency: 'USD', rate: '1', day: '2026-09-30', source: 'x' } },
    ];
    for (const change of changes) {
      const changed = lines.map((line, index) => (index === 0 ? { ...line, ...change } : line));
      expect(hashLines(changed, taxTexts), JSON.stringify(change)).not.toEqual(linesHash);
    }
    expect(hashLines(lines.toReversed(), taxTexts)).not.toEqual(linesHash);
  });

  it.each(['name', 'percent', 'base', 'amount', 'note'])('is another for another %s of a tax', (key) => {
    expect(
      hashLines(
        lines,
        taxTexts.map((tax) => ({ ...tax, [key]: 'x' })),
      ),
    ).not.toEqual(linesHash);
  });
});

/** Something of everything that an input can have. */
function richInput(): InvoiceInput {
  const content = plan({
    charges: [
      charge(unit('0.050'), { chargeId: 'cpu', cap: dec('1000'), minimum: dec('1.00') }),
      charge(
        { kind: 'volume', tiers: tiers(['10', '0.1', '0'], ['', '0.05', '1']) },
        { chargeId: 'disk', metric: 'disk_io' },
      ),
      charge(
        { kind: 'package', size: dec('1000'), price: dec('2') },
        { chargeId: 'vm', metric: 'vm', regions: ['eu', 'us'] },
      ),
      charge(flat('10', true), { chargeId: 'fee' }),
    ],
    allowances: [{ metric: 'cpu', quantity: dec('7') }],
    discounts: [percentOff('12.5', 1, ['cpu'])],
    commitment: { amount: dec('50'), overagePercent: dec('120') },
    cap: dec('5000'),
  });
  const exchange = { fromCurrency: 'USD', rate: dec('0.91370'), day: '2026-09-30', source: 'ECB' };
  const first = span(content, [coreHours('100', 'eu'), ofWindows('us', 7n)], septemberDays(0, 11));
  const second = span(content, [coreHours('3', 'ap')], { ...septemberDays(11, 30), exchange, planVersion: 2 });
  const line = { description: 'Setup', quantity: dec('-2.0'), unit: '', unitPrice: dec('10'), taxable: true };
  return invoiceInput({
    spans: [first, second],
    next: {
      period: OCTOBER,
      spans: [{ ...second, start: OCTOBER.start, end: OCTOBER.end }].map(({ usage: _usage, ...each }) => each),
    },
    billedInAdvance: advanceFees(first, SEPTEMBER, 'EUR'),
    discounts: [
      { discountId: 'a', terms: amountOff('1', 2) },
      { discountId: 'b', terms: amountOff('2', 2) },
    ],
    manualLines: [
      { ...line, manualLineId: '1', at: new Date('2026-09-03T00:00:00Z') },
      { ...line, manualLineId: '2', at: new Date('2026-09-03T00:00:00Z') },
    ],
    tax: { treatment: 'standard', region: 'de', rates: [VAT], pricesIncludeTax: false },
    seller: {
      name: 'Cloud',
      addressLines: ['1 Street'],
      country: 'DE',
      taxId: 'DE1',
      email: '',
      paymentLines: ['IBAN'],
    },
  });
}

/** One-minute windows of the worked example. */
function ofWindows(region: string, windows: bigint): SpanUsage {
  const bytes = windows * 1_000_000n;
  return used(region, {
    cpuTimeNanos: windows * 60_000_000_000n,
    memoryByteSeconds: windows * 4_000_000_000n * 60n,
    diskReadBytes: bytes,
    diskWriteBytes: bytes,
    networkRxBytes: bytes,
    networkTxBytes: bytes,
    observedNanos: windows * 60_000_000_000n,
  });
}
