import { describe, expect, it } from 'vitest';
import { type ChargeText, parseContent, type PlanContentText } from '../../../src/billing/plans/parse-content.ts';
import {
  contentFromJson,
  contentOfRates,
  contentToJson,
  ratesOf,
  sameContent,
} from '../../../src/billing/rating/content-json.ts';
import { aCharge, aContent } from './a-content.ts';

const METRICS = new Set(['cpu', 'memory', 'vm']);
const TIERS = [
  { upTo: '100', unitPrice: '1.00', flatAmount: '5.00' },
  { upTo: '500.5', unitPrice: '0.50', flatAmount: '' },
  { upTo: '', unitPrice: '', flatAmount: '' },
];
const EVERYTHING = aContent({
  name: 'Größe M',
  charges: [
    aCharge({ regions: ['eu', 'us'], cap: '1000', minimum: '10.50' }),
    aCharge({ chargeId: 'cpu-rest', model: { case: 'graduated', value: { tiers: TIERS } } }),
    aCharge({ chargeId: 'memory', metric: 'memory', model: { case: 'volume', value: { tiers: TIERS } } }),
    aCharge({ chargeId: 'vm', metric: 'vm', model: { case: 'packagePrice', value: { size: '1000', price: '2.00' } } }),
    aCharge({ chargeId: 'base', metric: '', model: { case: 'flatFee', value: { amount: '100', inAdvance: true } } }),
  ],
  allowances: [{ metric: 'cpu', quantity: '744' }],
  discounts: [
    { description: 'Launch', value: { case: 'percent', value: '12.5' }, chargeIds: [], order: 2 },
    { description: '', value: { case: 'amount', value: '20' }, chargeIds: ['vm'], order: 1 },
  ],
  commitment: { amount: '500', overagePercent: '120' },
  cap: '5000',
  gapPolicy: 'interpolate',
  gapSecondsMax: 900,
});

function parse(content: PlanContentText) {
  return parseContent(content, METRICS);
}

function withModel(model: ChargeText['model'], change: Partial<ChargeText> = {}) {
  return { charges: [aCharge({ ...change, model })] };
}

function tiers(...bounds: string[]) {
  return bounds.map((upTo) => ({ upTo, unitPrice: '1', flatAmount: '' }));
}

describe('the content of a plan', () => {
  it('is read with its defaults', () => {
    expect(parse(aContent())).toEqual(contentOfRatesOf('0.05'));
    expect(parse(aContent({ commitment: { amount: '5', overagePercent: '' } })).commitment).toEqual({
      amount: { units: 5n, scale: 0 },
      overagePercent: { units: 100n, scale: 0 },
    });
  });

  it('goes to JSON and back, in whatever order the database keeps its fields', () => {
    const content = parse(EVERYTHING);
    const text = contentToJson(content);
    const back = contentFromJson(reversed(JSON.parse(text)));
    expect(contentToJson(back)).toBe(text);
    expect(sameContent(back, content)).toBe(true);
    expect(back.charges[1]?.model).toEqual({
      kind: 'graduated',
      tiers: [
        { upTo: { units: 100n, scale: 0 }, unitPrice: { units: 1n, scale: 0 }, flatAmount: { units: 5n, scale: 0 } },
        { upTo: { units: 5005n, scale: 1 }, unitPrice: { units: 5n, scale: 1 }, flatAmount: { units: 0n, scale: 0 } },
        { upTo: undefined, unitPrice: { units: 0n, scale: 0 }, flatAmount: { units: 0n, scale: 0 } },
      ],
    });
    expect(() => contentFromJson({ ...JSON.parse(text), surcharge: '1' })).toThrow('surcharge');
    expect(() => contentFromJson({})).toThrow('charges');
  });

  it('is the same by value', () => {
    const cheaper = withModel({ case: 'unitPrice', value: { price: '0.049' } });
    expect(
      sameContent(parse(aContent()), parse(aContent(withModel({ case: 'unitPrice', value: { price: '0.050' } })))),
    ).toBe(true);
    expect(sameContent(parse(aContent()), parse(aContent(cheaper)))).toBe(false);
  });

  const many = (count: number) =>
    Array.from({ length: count }, (_, index) => aCharge({ chargeId: `c${index}`, regions: [`r${index}`] }));
  const percent = (value: string) =>
    ({ description: '', value: { case: 'percent', value }, chargeIds: [], order: 0 }) as const;
  it.each<[string, Partial<PlanContentText>, string]>([
    ['content.charges', { charges: [] }, 'there is nothing to charge'],
    ['content.charges', { charges: many(201) }, '201 are more than 200'],
    ['content.charges[0].charge_id', { charges: [aCharge({ chargeId: '' })] }, 'is empty'],
    ['content.charges[1].charge_id', { charges: [aCharge(), aCharge({ metric: 'vm' })] }, '"cpu" is there twice'],
    ['content.charges[0].description', { charges: [aCharge({ description: 'x'.repeat(401) })] }, '401 bytes long'],
    ['content.charges[0].metric', { charges: [aCharge({ metric: 'gpu' })] }, 'there is no metric "gpu"'],
    ['content.charges[0].metric', { charges: [aCharge({ metric: '' })] }, 'there is no metric ""'],
    [
      'content.charges[0].metric',
      withModel({ case: 'flatFee', value: { amount: '1', inAdvance: false } }),
      '"cpu" has no place in a flat fee',
    ],
    [
      'content.charges[0].regions',
      withModel({ case: 'flatFee', value: { amount: '1', inAdvance: false } }, { metric: '', regions: ['eu'] }),
      'have no place in a flat fee',
    ],
    ['content.charges[0].regions[1]', { charges: [aCharge({ regions: ['eu', 'eu'] })] }, '"eu" is there twice'],
    [
      'content.charges[1].regions',
      { charges: [aCharge(), aCharge({ chargeId: 'b' })] },
      'two charges for all other regions',
    ],
    [
      'content.charges[1].regions',
      { charges: [aCharge({ regions: ['eu'] }), aCharge({ chargeId: 'b', regions: ['us', 'eu'] })] },
      '"cpu" has two charges for region "eu"',
    ],
    ['content.charges[0].cap', { charges: [aCharge({ cap: '1', minimum: '2' })] }, '1 is below 2'],
    ['content.charges[0]', withModel({ case: undefined }), 'no price is given'],
    ['content.charges[0].unit_price.price', withModel({ case: 'unitPrice', value: { price: '-1' } }), '-1 is below 0'],
    ['content.charges[0].unit_price.price', withModel({ case: 'unitPrice', value: { price: '' } }), 'is missing'],
    [
      'content.charges[0].unit_price.price',
      withModel({ case: 'unitPrice', value: { price: '1e3' } }),
      '"1e3" is no decimal',
    ],
    [
      'content.charges[0].unit_price.price',
      withModel({ case: 'unitPrice', value: { price: '1000000000000.1' } }),
      'is more than 1000000000000',
    ],
    [
      'content.charges[0].unit_price.price',
      withModel({ case: 'unitPrice', value: { price: `0.${'1'.repeat(19)}` } }),
      '19 digits behind the point, more than 18',
    ],
    ['content.charges[0].graduated.tiers', withModel({ case: 'graduated', value: { tiers: [] } }), 'there are none'],
    [
      'content.charges[0].volume.tiers',
      withModel({ case: 'volume', value: { tiers: tiers(...Array.from({ length: 101 }, () => '1')) } }),
      '101 are more than 100',
    ],
    [
      'content.charges[0].graduated.tiers[0].up_to',
      withModel({ case: 'graduated', value: { tiers: tiers('0', '') } }),
      '0 is not above 0',
    ],
    [
      'content.charges[0].graduated.tiers[1].up_to',
      withModel({ case: 'graduated', value: { tiers: tiers('5', '5', '') } }),
      '5 is not above 5',
    ],
    [
      'content.charges[0].graduated.tiers[0].up_to',
      withModel({ case: 'graduated', value: { tiers: tiers('', '') } }),
      'is missing',
    ],
    [
      'content.charges[0].volume.tiers[1].up_to',
      withModel({ case: 'volume', value: { tiers: tiers('5', '6') } }),
      'the last tier has no bound',
    ],
    [
      'content.charges[0].package_price.size',
      withModel({ case: 'packagePrice', value: { size: '0', price: '1' } }),
      '0 is not above 0',
    ],
    [
      'content.allowances[0].metric',
      { allowances: [{ metric: 'vm', quantity: '1' }] },
      'no charge, or another allowance, is of "vm"',
    ],
    [
      'content.allowances[1].metric',
      {
        allowances: [
          { metric: 'cpu', quantity: '1' },
          { metric: 'cpu', quantity: '1' },
        ],
      },
      'another allowance',
    ],
    ['content.allowances[0].quantity', { allowances: [{ metric: 'cpu', quantity: '' }] }, 'is missing'],
    ['content.discounts', { discounts: Array.from({ length: 51 }, () => percent('1')) }, '51 are more than 50'],
    ['content.discounts[0].percent', { discounts: [percent('0')] }, '0 is not above 0'],
    ['content.discounts[0].percent', { discounts: [percent('100.1')] }, '100.1 is more than 100'],
    [
      'content.discounts[0]',
      { discounts: [{ ...percent('1'), value: { case: undefined } }] },
      'neither percent nor amount',
    ],
    [
      'content.discounts[0].charge_ids[0]',
      { discounts: [{ ...percent('1'), chargeIds: ['vm'] }] },
      'the plan has no charge "vm"',
    ],
    [
      'content.minimum',
      { minimum: '1', commitment: { amount: '1', overagePercent: '' } },
      'together with a commitment',
    ],
    ['content.cap', { minimum: '10', cap: '9.99' }, '9.99 is below 10'],
    ['content.cap', { commitment: { amount: '10', overagePercent: '' }, cap: '9' }, '9 is below 10'],
    ['content.commitment.amount', { commitment: { amount: '0', overagePercent: '' } }, '0 is not above 0'],
    [
      'content.commitment.overage_percent',
      { commitment: { amount: '1', overagePercent: '10001' } },
      'is more than 10000',
    ],
    ['content.gap_seconds_max', { gapSecondsMax: 119 }, '119 is not from 120 to 3600'],
    ['content.gap_seconds_max', { gapSecondsMax: 3601 }, '3601 is not from 120 to 3600'],
  ])('is refused for its %s: %j', (field, change, message) => {
    const refused = () => parse(aContent(change));
    expect(refused).toThrow(expect.objectContaining({ kind: 'invalid_argument', field }));
    expect(refused).toThrow(message);
  });

  it('may be a minimum alone', () => {
    expect(parse(aContent({ charges: [], minimum: '10' })).charges).toEqual([]);
  });
});

describe('the four rates', () => {
  const RATES = { cpuPerCoreHour: 0.1, memoryPerGbHour: 0.02, diskIoPerGb: 0, networkPerGb: 1e-7 };

  it('are a plan of unit prices in their shortest decimals, and come back from it', () => {
    const content = contentFromJson(JSON.parse(contentToJson(contentOfRates(RATES))));
    expect(content.charges.map(({ metric, model }) => [metric, model])).toEqual([
      ['cpu', { kind: 'unit', price: { units: 1n, scale: 1 } }],
      ['memory', { kind: 'unit', price: { units: 2n, scale: 2 } }],
      ['disk_io', { kind: 'unit', price: { units: 0n, scale: 0 } }],
      ['network', { kind: 'unit', price: { units: 1n, scale: 7 } }],
    ]);
    expect(ratesOf(content)).toEqual(RATES);
  });

  it('are none of a plan that says more', () => {
    const content = contentOfRates(RATES);
    expect(ratesOf({ ...content, cap: { units: 1n, scale: 0 } })).toBeUndefined();
    expect(ratesOf({ ...content, charges: content.charges.slice(1) })).toBeUndefined();
    expect(ratesOf({ ...content, charges: content.charges.toReversed() })).toBeUndefined();
    expect(ratesOf(parse(EVERYTHING))).toBeUndefined();
  });

  it.each([
    [-1, 'is not a number of at least 0'],
    [Number.NaN, 'is not a number of at least 0'],
    [Number.POSITIVE_INFINITY, 'is not a number of at least 0'],
    [1_000_000_000_001, '1000000000001 is more than 1000000000000'],
    [1e-19, 'has 19 digits behind the point, more than 18'],
  ])('refuse %d, naming the field', (value, why) => {
    const refused = () => contentOfRates({ ...RATES, diskIoPerGb: value });
    expect(refused).toThrow(expect.objectContaining({ kind: 'invalid_argument', field: 'rates.disk_io_per_gb' }));
    expect(refused).toThrow(why);
  });
});

function contentOfRatesOf(price: string) {
  const content = contentOfRates({
    cpuPerCoreHour: Number(price),
    memoryPerGbHour: 0,
    diskIoPerGb: 0,
    networkPerGb: 0,
  });
  return { ...content, charges: content.charges.slice(0, 1) };
}

/** The same data with the fields of every object the other way round. */
function reversed(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(reversed);
  if (typeof data !== 'object' || data === null) return data;
  return Object.fromEntries(
    Object.entries(data)
      .toReversed()
      .map(([name, value]) => [name, reversed(value)]),
  );
}
