import type { MeasuredPlanSpan } from '../invoice/invoice-input.ts';
import { measured } from './metrics.ts';
import type { Charge, Metric } from './plan-content.ts';

/** What was used of a charge's metric in the regions that it charges, in the metric's small units. */
export interface ChargeQuantity {
  readonly charge: Charge;
  readonly metric: Metric;
  /** Observed and estimated. */
  readonly small: bigint;
  readonly estimatedSmall: bigint;
  /** In their order, without those that used nothing; they add up to `small`. */
  readonly regions: readonly { readonly region: string; readonly small: bigint }[];
}

type MeasuredSpan = Pick<MeasuredPlanSpan, 'content' | 'metrics' | 'usage'>;

/** One for each charge on usage, in the plan's order. @throws Error where a metric is missing, or usage is below 0 */
export function chargeQuantities(span: MeasuredSpan): ChargeQuantity[] {
  const { charges } = span.content;
  return charges.flatMap((charge) => {
    if (charge.model.kind === 'flat') return [];
    const metric = span.metrics.find((each) => each.id === charge.metric);
    if (metric === undefined) throw new Error(`charge "${charge.chargeId}": there is no metric "${charge.metric}"`);
    return [quantityOf(span, charge, metric)];
  });
}

function quantityOf({ content, usage }: MeasuredSpan, charge: Charge, metric: Metric): ChargeQuantity {
  const byRegion = new Map<string, bigint>();
  let [small, estimatedSmall] = [0n, 0n];
  for (const { region, observed, estimated } of usage) {
    if (!isCharged(charge, region, content.charges)) continue;
    const estimatedHere = measured(metric, estimated);
    const here = measured(metric, observed) + estimatedHere;
    if (here === 0n) continue;
    small += here;
    estimatedSmall += estimatedHere;
    byRegion.set(region, (byRegion.get(region) ?? 0n) + here);
  }
  const regions = [...byRegion].map(([region, each]) => ({ region, small: each }));
  return { charge, metric, small, estimatedSmall, regions: regions.toSorted((a, b) => (a.region < b.region ? -1 : 1)) };
}

/** A charge that names no regions has those that no other charge of its metric names. */
function isCharged(charge: Charge, region: string, all: readonly Charge[]): boolean {
  if (charge.regions.length > 0) return charge.regions.includes(region);
  return !all.some((other) => other.metric === charge.metric && other.regions.includes(region));
}
