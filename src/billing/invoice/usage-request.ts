import type { MeasuredPlanSpan, PlanSpan, SpanUsage, UsageRequest } from './invoice-input.ts';

/** What is to be measured for a customer's spans. @param until nothing from here on */
export function usageRequestOf(customerId: string, spans: readonly PlanSpan[], until?: Date): UsageRequest {
  const endOf = ({ start, end }: PlanSpan): Date => {
    if (until === undefined || until >= end) return end;
    return until > start ? until : start;
  };
  return {
    customerId,
    spans: spans.map((span) => ({
      startNanos: toNanos(span.start),
      endNanos: toNanos(endOf(span)),
      gapPolicy: span.content.gapPolicy,
      gapSecondsMax: span.content.gapSecondsMax,
    })),
  };
}

/** The spans with what `readUsage` answered for them, in their order. */
export function withUsage(
  spans: readonly PlanSpan[],
  usage: readonly (readonly SpanUsage[])[],
): readonly MeasuredPlanSpan[] {
  return spans.map((span, index) => {
    const measured = usage[index];
    if (measured === undefined)
      throw new Error(`usage was asked for ${spans.length} spans, and is there for ${usage.length}`);
    return { ...span, usage: measured };
  });
}

/**
 * Hours that a rollup had under way while an invoice was computed may bear a time before that, and come into sight after it:
 * a rollup takes less than this.
 */
const ROLLUP_MS_MAX = 3_600_000;

/** Hours that bear an earlier time were seen by what was computed then. @returns Unix nanoseconds */
export function seenUntilNanos(computedAt: Date): bigint {
  return toNanos(new Date(computedAt.getTime() - ROLLUP_MS_MAX));
}

export function toNanos(instant: Date): bigint {
  return BigInt(instant.getTime()) * 1_000_000n;
}
