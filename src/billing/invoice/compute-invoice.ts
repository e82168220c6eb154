import { createHash } from 'node:crypto';
import { formatDecimal } from '../money.ts';
import { showPrices } from '../plans/plan-version.ts';
import type { PriceSpan } from '../plans/price-spans.ts';
import type { RegionUsage } from '../rating/meters.ts';
import { rate, type RatedLine, totalOf } from '../rating/rate.ts';
import type { InvoiceLine } from './invoice.ts';

/** What was used in one price span. */
export interface MeasuredSpan extends PriceSpan {
  readonly usage: readonly RegionUsage[];
}

export interface ComputedInvoice {
  readonly lines: readonly InvoiceLine[];
  /** The sum of the lines. */
  readonly total: string;
  /** SHA-256 of all that the lines were computed from: usage by region and prices, span by span. */
  readonly inputHash: Buffer;
  /** SHA-256 of the lines. */
  readonly linesHash: Buffer;
}

/**
 * The invoice is this function of usage and prices, and nothing else: the same input gives the same digits.
 * @param currency that of every span's plan
 */
export function computeInvoice(spans: readonly MeasuredSpan[], currency: string): ComputedInvoice {
  const rated = spans.flatMap((span) => rate(span.usage, span.plan.prices, currency).map((line) => ({ span, line })));
  const lines = rated.map(({ span, line }) => toInvoiceLine(span, line));
  return {
    lines,
    total: formatDecimal(totalOf(rated.map(({ line }) => line))),
    inputHash: hashOf([currency, spans.map((span) => [spanKey(span), usageKey(span.usage)])]),
    linesHash: hashLines(lines),
  };
}

/** Tells two spans with different bounds, plans or prices apart. */
export function spanKey({ start, end, plan }: PriceSpan): string {
  const { planId, version, prices } = plan;
  const { cpu, memory, disk_io, network } = showPrices(prices);
  return JSON.stringify([start, end, planId, version, cpu, memory, disk_io, network]);
}

/** The same for lines as computed and for lines as read back. */
export function hashLines(lines: readonly InvoiceLine[]): Buffer {
  const keys = lines.map((line) => [
    [line.meter, line.description, line.quantity, line.unit, line.unitPrice, line.amount],
    [line.start, line.end, line.planId, line.planVersion],
    line.regions.map(({ region, quantity }) => [region, quantity]),
  ]);
  return hashOf(keys);
}

/** In the order of regions, whatever order they came in. */
function usageKey(usage: readonly RegionUsage[]): string[][] {
  const keys = usage.map((each) => {
    const { region, cpuTimeNanos, memoryByteSeconds, diskReadBytes, diskWriteBytes } = each;
    const counts = [cpuTimeNanos, memoryByteSeconds, diskReadBytes, diskWriteBytes];
    counts.push(each.networkRxBytes, each.networkTxBytes, each.observedNanos);
    return [region, ...counts.map(String)];
  });
  return keys.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

function toInvoiceLine({ start, end, plan }: PriceSpan, line: RatedLine): InvoiceLine {
  return {
    meter: line.meter.id,
    description: line.meter.description,
    quantity: formatDecimal(line.quantity),
    unit: line.meter.unit,
    unitPrice: formatDecimal(line.unitPrice),
    amount: formatDecimal(line.amount),
    start,
    end,
    planId: plan.planId,
    planVersion: plan.version,
    regions: line.regions.map(({ region, quantity }) => ({ region, quantity: formatDecimal(quantity) })),
  };
}

function hashOf(content: unknown): Buffer {
  return createHash('sha256').update(JSON.stringify(content)).digest();
}
