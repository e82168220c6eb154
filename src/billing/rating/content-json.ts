import { z } from 'zod';
import { checkDecimal } from '../decimal-field.ts';
import { type Decimal, decimalOfDouble, formatDecimal, parseDecimal, stripZeros } from '../money.ts';
import type { Charge, DiscountTerms, Metric, PlanContent } from './plan-content.ts';

/**
 * Plans, discounts and metrics as JSON: the form in which they are stored and hashed. Decimals are text without zeros at
 * their end; what there is none of is null. One description serves both directions, so they cannot differ.
 */

const decimal = z.codec(z.string(), z.custom<Decimal>(), {
  decode: (text) => parseDecimal(text, 'decimal'),
  encode: (value) => formatDecimal(stripZeros(value)),
});
const optionalDecimal = z.codec(z.nullable(z.string()), z.custom<Decimal | undefined>(), {
  decode: (text) => (text === null ? undefined : parseDecimal(text, 'decimal')),
  encode: (value) => (value === undefined ? null : formatDecimal(stripZeros(value))),
});
const whole = z.codec(z.string(), z.bigint(), { decode: BigInt, encode: String });

const tier = z.strictObject({ upTo: optionalDecimal, unitPrice: decimal, flatAmount: decimal });
const modelCodec = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('unit'), price: decimal }),
  z.strictObject({ kind: z.enum(['graduated', 'volume']), tiers: z.array(tier).readonly() }),
  z.strictObject({ kind: z.literal('package'), size: decimal, price: decimal }),
  z.strictObject({ kind: z.literal('flat'), amount: decimal, inAdvance: z.boolean() }),
]);
const charge = z.strictObject({
  chargeId: z.string(),
  description: z.string(),
  metric: z.string(),
  regions: z.array(z.string()).readonly(),
  model: modelCodec,
  cap: optionalDecimal,
  minimum: optionalDecimal,
});
const commitment = z.strictObject({ amount: decimal, overagePercent: decimal });
const optionalCommitment = z.codec(z.nullable(commitment), z.custom<PlanContent['commitment']>(), {
  decode: (value) => value ?? undefined,
  encode: (value) => value ?? null,
});

/** A discount's terms ↔ JSON. */
export const discountCodec = z.strictObject({
  description: z.string(),
  value: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('percent'), percent: decimal }),
    z.strictObject({ kind: z.literal('amount'), amount: decimal }),
  ]),
  chargeIds: z.array(z.string()).readonly(),
  order: z.int(),
}) satisfies z.ZodType<DiscountTerms>;

/** A plan version's content ↔ JSON. */
export const contentCodec = z.strictObject({
  name: z.string(),
  charges: z.array(charge).readonly(),
  allowances: z.array(z.strictObject({ metric: z.string(), quantity: decimal })).readonly(),
  discounts: z.array(discountCodec).readonly(),
  minimum: optionalDecimal,
  commitment: optionalCommitment,
  cap: optionalDecimal,
  gapPolicy: z.enum(['skip', 'interpolate', 'carry']),
  gapSecondsMax: z.int(),
}) satisfies z.ZodType<PlanContent>;

const QUANTITIES = [
  'cpuTimeNanos',
  'memoryByteSeconds',
  'diskReadBytes',
  'diskWriteBytes',
  'diskReadOps',
  'diskWriteOps',
  'networkRxBytes',
  'networkTxBytes',
  'observedNanos',
] as const;
const term = z.strictObject({ quantity: z.enum(QUANTITIES), weight: whole });

/** A metric ↔ JSON. */
export const metricCodec = z.strictObject({
  id: z.string(),
  description: z.string(),
  unit: z.string(),
  terms: z.array(term).readonly(),
  perUnit: whole,
}) satisfies z.ZodType<Metric>;

/** The same text for the same content. What there is none of may be `undefined` or not there at all. */
export function contentToJson(content: PlanContent): string {
  return JSON.stringify(z.encode(contentCodec, withAllKeys(content)));
}

/** The stored input of an invoice leaves out what there is none of; the codec wants every key. */
function withAllKeys(content: PlanContent): PlanContent {
  const { minimum, cap, charges } = content;
  return { ...content, minimum, commitment: content.commitment, cap, charges: charges.map(withAllChargeKeys) };
}

function withAllChargeKeys(given: Charge): Charge {
  const { cap, minimum, model } = given;
  if (model.kind !== 'graduated' && model.kind !== 'volume') return { ...given, cap, minimum };
  const tiers = model.tiers.map(({ upTo, ...tierRest }) => ({ upTo, ...tierRest }));
  return { ...given, cap, minimum, model: { ...model, tiers } };
}

/** @param json what `contentToJson` wrote, parsed @throws Error where it is not that */
export function contentFromJson(json: unknown): PlanContent {
  return z.parse(contentCodec, json);
}

/** Prices per unit in the plan's currency as callers give them: each double stands for its shortest decimal. */
export interface PricingRates {
  readonly cpuPerCoreHour: number;
  readonly memoryPerGbHour: number;
  readonly diskIoPerGb: number;
  readonly networkPerGb: number;
}

/** The charges that the four rates stand for, in the order of an invoice's lines. */
const RATE_CHARGES = [
  ['cpu', 'cpuPerCoreHour', 'rates.cpu_per_core_hour'],
  ['memory', 'memoryPerGbHour', 'rates.memory_per_gb_hour'],
  ['disk_io', 'diskIoPerGb', 'rates.disk_io_per_gb'],
  ['network', 'networkPerGb', 'rates.network_per_gb'],
] as const;
/** How long a gap may be to be filled, where a plan does not say. */
export const GAP_SECONDS_DEFAULT = 600;

/** The simplest plan: a unit price for each of the four. @throws CallerFault where a rate is below 0, above 10^12, finer than 18 digits, or no number */
export function contentOfRates(rates: PricingRates): PlanContent {
  const charges = RATE_CHARGES.map(([metric, name, field]) => {
    const price = decimalOfDouble(rates[name], field);
    checkDecimal(field, price);
    const model = { kind: 'unit', price } as const;
    return { chargeId: metric, description: '', metric, regions: [], model, cap: undefined, minimum: undefined };
  });
  return {
    name: '',
    charges,
    allowances: [],
    discounts: [],
    minimum: undefined,
    commitment: undefined,
    cap: undefined,
    gapPolicy: 'skip',
    gapSecondsMax: GAP_SECONDS_DEFAULT,
  };
}

/** The rates of content that says no more than they can; the doubles have the prices as their shortest decimals. */
export function ratesOf(content: PlanContent): PricingRates | undefined {
  const prices = content.charges.flatMap(({ model: price }) => {
    return price.kind === 'unit' ? [Number(formatDecimal(price.price))] : [];
  });
  const [cpuPerCoreHour, memoryPerGbHour, diskIoPerGb, networkPerGb] = prices;
  if (cpuPerCoreHour === undefined || memoryPerGbHour === undefined) return undefined;
  if (diskIoPerGb === undefined || networkPerGb === undefined) return undefined;
  const rates = { cpuPerCoreHour, memoryPerGbHour, diskIoPerGb, networkPerGb };
  return sameContent(contentOfRates(rates), content) ? rates : undefined;
}

/** Whether both charge the same, by value: "0.50" is "0.5". */
export function sameContent(a: PlanContent, b: PlanContent): boolean {
  return contentToJson(a) === contentToJson(b);
}
