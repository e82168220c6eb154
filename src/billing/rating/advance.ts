import { minorUnits } from '../currencies.ts';
import type { BillingPeriod, ComputedLine, PlanSpan } from '../invoice/invoice-input.ts';
import type { Decimal } from '../money.ts';
import { flatLine } from './charge-lines.ts';
import { inCustomersCurrency } from './exchange.ts';

/** The fees of a span that are billed a period before, as planned: a line for each, in the plan's order. */
export function advanceFees(span: PlanSpan, period: BillingPeriod, currency: string): ComputedLine[] {
  const digits = minorUnits(currency);
  const { charges } = inCustomersCurrency(span);
  return charges.flatMap((charge) => {
    if (charge.model.kind !== 'flat' || !charge.model.inAdvance) return [];
    return flatLine(charge, span, period, digits) ?? [];
  });
}

/**
 * What fees in advance really come to in the period, less what the invoice before billed of them: a line where they differ.
 * What was billed at an exchange rate is settled at the same, so that a fee that held as planned leaves nothing.
 * @param billed lines that `advanceFees` gave for this period when the period before was invoiced
 */
export function settleAdvance(
  spans: readonly PlanSpan[],
  period: BillingPeriod,
  currency: string,
  billed: readonly ComputedLine[],
): ComputedLine[] {
  const billedByFee = Map.groupBy(billed, feeOf);
  const due = spans.flatMap((span) => {
    return advanceFees(span, period, currency).flatMap((line) => {
      const exchange = billedByFee.get(feeOf(line))?.[0]?.exchange ?? span.exchange;
      const atBilledRate = exchange === span.exchange ? [line] : advanceFees({ ...span, exchange }, period, currency);
      return atBilledRate.filter((each) => each.chargeId === line.chargeId);
    });
  });
  const dueByFee = Map.groupBy(due, feeOf);
  const fees = [...dueByFee.keys(), ...[...billedByFee.keys()].filter((fee) => !dueByFee.has(fee))];
  return fees.flatMap((fee) => settled(dueByFee.get(fee) ?? [], billedByFee.get(fee) ?? []));
}

/** One fee of one plan version: what held, less what was billed. */
function settled(due: readonly ComputedLine[], billed: readonly ComputedLine[]): ComputedLine[] {
  const lines = due.length > 0 ? due : billed;
  const [first, last] = [lines[0], lines.at(-1)];
  if (first === undefined || last === undefined) return [];
  const units = unitsOf(due) - unitsOf(billed);
  if (units === 0n && billed.length > 0) return [];
  const whole = { ...first, end: last.end, amount: { ...first.amount, units } };
  if (due.length === 1 && billed.length === 0) return [whole];
  return [{ ...whole, quantity: ONE, unitPrice: undefined }];
}

const ONE: Decimal = { units: 1n, scale: 0 };

function unitsOf(lines: readonly ComputedLine[]): bigint {
  return lines.reduce((sum, { amount }) => sum + amount.units, 0n);
}

function feeOf({ planId, planVersion, chargeId }: ComputedLine): string {
  return JSON.stringify([planId, planVersion, chargeId]);
}
