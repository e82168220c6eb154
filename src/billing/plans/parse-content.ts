import { parseId } from '../../lib/identifier.ts';
import { parseDecimalField } from '../decimal-field.ts';
import { compareDecimals, type Decimal, formatDecimal, ZERO } from '../money.ts';
import { GAP_SECONDS_DEFAULT } from '../rating/content-json.ts';
import type { Charge, ChargeModel, GapPolicy, PlanContent, Tier } from '../rating/plan-content.ts';
import {
  checkCount,
  type DiscountTermsText,
  invalid,
  parseDescription,
  parseDiscountTerms,
  parseIds,
} from './parse-discount.ts';

/** What a plan charges as callers give it: the contract's message, with decimals as text; an empty text is none. */
export interface PlanContentText {
  readonly name: string;
  readonly charges: readonly ChargeText[];
  readonly allowances: readonly { readonly metric: string; readonly quantity: string }[];
  readonly discounts: readonly DiscountTermsText[];
  readonly minimum: string;
  readonly commitment?: { readonly amount: string; readonly overagePercent: string } | undefined;
  readonly cap: string;
  readonly gapPolicy: GapPolicy;
  /** 0: the default. */
  readonly gapSecondsMax: number;
}

export interface ChargeText {
  readonly chargeId: string;
  readonly description: string;
  readonly metric: string;
  readonly regions: readonly string[];
  readonly cap: string;
  readonly minimum: string;
  readonly model:
    | { readonly case: 'unitPrice'; readonly value: { readonly price: string } }
    | { readonly case: 'graduated' | 'volume'; readonly value: { readonly tiers: readonly TierText[] } }
    | { readonly case: 'packagePrice'; readonly value: { readonly size: string; readonly price: string } }
    | { readonly case: 'flatFee'; readonly value: { readonly amount: string; readonly inAdvance: boolean } }
    | { readonly case: undefined; readonly value?: undefined };
}

interface TierText {
  readonly upTo: string;
  readonly unitPrice: string;
  readonly flatAmount: string;
}

const CHARGES_MAX = 200;
const REGIONS_MAX = 200;
const TIERS_MAX = 100;
const ALLOWANCES_MAX = 100;
const DISCOUNTS_MAX = 50;
const GAP_SECONDS = { min: 120, max: 3600 };
const OVERAGE_PERCENT_MAX = 10_000n;
const HUNDRED: Decimal = { units: 100n, scale: 0 };

/**
 * @param metrics the ids of those that there are
 * @throws CallerFault invalid_argument naming what is wrong by its path, e.g. "content.charges[2].graduated.tiers[0].up_to"
 */
export function parseContent(text: PlanContentText, metrics: ReadonlySet<string>): PlanContent {
  checkCount('content.charges', text.charges, CHARGES_MAX);
  const charges = text.charges.map((charge, index) => parseCharge(`content.charges[${index}]`, charge, metrics));
  checkApart(charges);
  const minimum = optional('content.minimum', text.minimum);
  const commitment = parseCommitment(text.commitment);
  if (minimum !== undefined && commitment !== undefined) {
    throw invalid('content.minimum', 'is not possible together with a commitment');
  }
  const least = minimum ?? commitment?.amount;
  if (charges.length === 0 && least === undefined) throw invalid('content.charges', 'there is nothing to charge');
  const cap = optional('content.cap', text.cap);
  checkCap('content.cap', cap, least);
  return {
    name: parseDescription('content.name', text.name),
    charges,
    allowances: parseAllowances(text.allowances, charges),
    discounts: parseDiscounts(text.discounts, charges),
    minimum,
    commitment,
    cap,
    gapPolicy: text.gapPolicy,
    gapSecondsMax: parseGapSeconds(text.gapSecondsMax),
  };
}

function parseCharge(field: string, text: ChargeText, metrics: ReadonlySet<string>): Charge {
  const model = parseModel(field, text.model);
  const { metric } = text;
  if (model.kind === 'flat') {
    if (metric !== '') throw invalid(`${field}.metric`, `${JSON.stringify(metric)} has no place in a flat fee`);
    if (text.regions.length > 0) throw invalid(`${field}.regions`, 'have no place in a flat fee');
  } else if (!metrics.has(metric)) {
    throw invalid(`${field}.metric`, `there is no metric ${JSON.stringify(metric.slice(0, 100))}`);
  }
  const [cap, minimum] = [optional(`${field}.cap`, text.cap), optional(`${field}.minimum`, text.minimum)];
  checkCap(`${field}.cap`, cap, minimum);
  return {
    chargeId: parseId(`${field}.charge_id`, text.chargeId),
    description: parseDescription(`${field}.description`, text.description),
    metric,
    regions: parseIds(`${field}.regions`, text.regions, REGIONS_MAX),
    model,
    cap,
    minimum,
  };
}

function parseModel(field: string, model: ChargeText['model']): ChargeModel {
  switch (model.case) {
    case 'unitPrice':
      return { kind: 'unit', price: amount(`${field}.unit_price.price`, model.value.price) };
    case 'graduated':
    case 'volume':
      return { kind: model.case, tiers: parseTiers(`${field}.${model.case}.tiers`, model.value.tiers) };
    case 'packagePrice': {
      const size = parseDecimalField(`${field}.package_price.size`, model.value.size, { sign: 'above 0' });
      return { kind: 'package', size, price: amount(`${field}.package_price.price`, model.value.price) };
    }
    case 'flatFee': {
      const { inAdvance } = model.value;
      return { kind: 'flat', amount: amount(`${field}.flat_fee.amount`, model.value.amount), inAdvance };
    }
    case undefined:
      throw invalid(field, 'no price is given: unit_price, graduated, volume, package_price or flat_fee');
  }
}

/** Every tier but the last ends above the one before it. */
function parseTiers(field: string, tiers: readonly TierText[]): readonly Tier[] {
  if (tiers.length === 0) throw invalid(field, 'there are none');
  checkCount(field, tiers, TIERS_MAX);
  let below = ZERO;
  return tiers.map((tier, index) => {
    const [path, isLast] = [`${field}[${index}]`, index === tiers.length - 1];
    const upTo = optional(`${path}.up_to`, tier.upTo);
    if (isLast && upTo !== undefined) throw invalid(`${path}.up_to`, `${tier.upTo}: the last tier has no bound`);
    if (!isLast && upTo === undefined) throw invalid(`${path}.up_to`, 'is missing: only the last tier has no bound');
    if (upTo !== undefined && compareDecimals(upTo, below) <= 0) {
      throw invalid(`${path}.up_to`, `${tier.upTo} is not above ${formatDecimal(below)}, where the tier begins`);
    }
    below = upTo ?? below;
    const unitPrice = optional(`${path}.unit_price`, tier.unitPrice) ?? ZERO;
    return { upTo, unitPrice, flatAmount: optional(`${path}.flat_amount`, tier.flatAmount) ?? ZERO };
  });
}

/** No two charges have the same id, and none of a metric's regions has two charges. */
function checkApart(charges: readonly Charge[]): void {
  const [ids, places] = [new Set<string>(), new Set<string>()];
  for (const [index, { chargeId, metric, regions }] of charges.entries()) {
    const field = `content.charges[${index}]`;
    if (ids.has(chargeId)) throw invalid(`${field}.charge_id`, `${JSON.stringify(chargeId)} is there twice`);
    ids.add(chargeId);
    if (metric === '') continue;
    for (const region of regions.length === 0 ? [''] : regions) {
      const place = `${metric}\0${region}`;
      const where = region === '' ? 'all other regions' : `region ${JSON.stringify(region)}`;
      if (places.has(place)) throw invalid(`${field}.regions`, `"${metric}" has two charges for ${where}`);
      places.add(place);
    }
  }
}

function parseAllowances(texts: PlanContentText['allowances'], charges: readonly Charge[]): PlanContent['allowances'] {
  checkCount('content.allowances', texts, ALLOWANCES_MAX);
  const charged = new Set(charges.map((charge) => charge.metric).filter((metric) => metric !== ''));
  return texts.map(({ metric, quantity }, index) => {
    const field = `content.allowances[${index}]`;
    if (!charged.has(metric)) {
      throw invalid(
        `${field}.metric`,
        `no charge, or another allowance, is of ${JSON.stringify(metric.slice(0, 100))}`,
      );
    }
    charged.delete(metric);
    return { metric, quantity: parseDecimalField(`${field}.quantity`, quantity, { sign: 'at least 0' }) };
  });
}

function parseDiscounts(texts: readonly DiscountTermsText[], charges: readonly Charge[]): PlanContent['discounts'] {
  checkCount('content.discounts', texts, DISCOUNTS_MAX);
  const ids = new Set(charges.map((charge) => charge.chargeId));
  return texts.map((text, index) => {
    const field = `content.discounts[${index}]`;
    const terms = parseDiscountTerms(field, text);
    const unknown = terms.chargeIds.findIndex((id) => !ids.has(id));
    if (unknown >= 0) {
      const path = `${field}.charge_ids[${unknown}]`;
      throw invalid(path, `the plan has no charge ${JSON.stringify(terms.chargeIds[unknown])}`);
    }
    return terms;
  });
}

function parseCommitment(text: PlanContentText['commitment']): PlanContent['commitment'] {
  if (text === undefined) return undefined;
  const bounds = { sign: 'at least 0', max: OVERAGE_PERCENT_MAX } as const;
  const percent = text.overagePercent;
  return {
    amount: parseDecimalField('content.commitment.amount', text.amount, { sign: 'above 0' }),
    overagePercent: percent === '' ? HUNDRED : parseDecimalField('content.commitment.overage_percent', percent, bounds),
  };
}

function parseGapSeconds(seconds: number): number {
  if (seconds === 0) return GAP_SECONDS_DEFAULT;
  if (seconds >= GAP_SECONDS.min && seconds <= GAP_SECONDS.max) return seconds;
  throw invalid('content.gap_seconds_max', `${seconds} is not from ${GAP_SECONDS.min} to ${GAP_SECONDS.max}`);
}

/** A cap below what is charged at least could not hold. */
function checkCap(field: string, cap: Decimal | undefined, least: Decimal | undefined): void {
  if (cap === undefined || least === undefined || compareDecimals(cap, least) >= 0) return;
  throw invalid(field, `${formatDecimal(cap)} is below ${formatDecimal(least)}, which is charged at least`);
}

function optional(field: string, text: string): Decimal | undefined {
  return text === '' ? undefined : amount(field, text);
}

function amount(field: string, text: string): Decimal {
  return parseDecimalField(field, text, { sign: 'at least 0' });
}
