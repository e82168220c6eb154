import type { ComputedLine } from '../invoice/invoice-input.ts';
import type { Fraction } from '../money.ts';

/** What a charge's model makes of a quantity. */
export interface ChargeAmount {
  /** Not rounded. */
  readonly amount: Fraction;
  /** How it came about; empty where it is one price times the quantity. */
  readonly tiers: ComputedLine['tiers'];
}
