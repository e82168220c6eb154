import { type Decimal, subtractDecimals } from '../money.ts';
import { percentOf } from './discounts.ts';

/** What a plan adds or takes so that it comes to what was agreed. In the currency's minor unit; not 0. */
export interface Correction {
  readonly kind: 'minimum' | 'commitment' | 'overage' | 'cap';
  readonly amountMinor: bigint;
}

const WHOLE: Decimal = { units: 100n, scale: 0 };

/** What is missing to the minimum. */
export function missingTo(minimumMinor: bigint, amountMinor: bigint): Correction | undefined {
  if (amountMinor >= minimumMinor) return undefined;
  return { kind: 'minimum', amountMinor: minimumMinor - amountMinor };
}

/**
 * What of the commitment was not used; or what use beyond it costs more, or less, than the plan's prices.
 * @param overagePercent of the plan's prices, e.g. 120
 */
export function commitmentOf(
  committedMinor: bigint,
  overagePercent: Decimal,
  usedMinor: bigint,
): Correction | undefined {
  if (usedMinor < committedMinor) return { kind: 'commitment', amountMinor: committedMinor - usedMinor };
  const amountMinor = percentOf(usedMinor - committedMinor, subtractDecimals(overagePercent, WHOLE));
  return amountMinor === 0n ? undefined : { kind: 'overage', amountMinor };
}

/** What is above the cap, below 0. */
export function excessOver(capMinor: bigint, amountMinor: bigint): Correction | undefined {
  return amountMinor <= capMinor ? undefined : { kind: 'cap', amountMinor: capMinor - amountMinor };
}
