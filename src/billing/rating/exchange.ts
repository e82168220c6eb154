import type { PlanSpan } from '../invoice/invoice-input.ts';
import { type Decimal, multiplyDecimals } from '../money.ts';
import type { Charge, ChargeModel, DiscountTerms, PlanContent, Tier } from './plan-content.ts';

/** The plan with every amount of money in the customer's currency, unrounded. */
export function inCustomersCurrency({ content, exchange }: Pick<PlanSpan, 'content' | 'exchange'>): PlanContent {
  if (exchange === undefined) return content;
  const convert = (amount: Decimal): Decimal => multiplyDecimals(amount, exchange.rate);
  const orNone = (amount: Decimal | undefined): Decimal | undefined =>
    amount === undefined ? amount : convert(amount);
  const charge = (each: Charge): Charge => {
    return { ...each, model: modelIn(each.model, convert), cap: orNone(each.cap), minimum: orNone(each.minimum) };
  };
  const { commitment } = content;
  return {
    ...content,
    charges: content.charges.map(charge),
    discounts: content.discounts.map((each) => discountIn(each, convert)),
    minimum: orNone(content.minimum),
    commitment: commitment === undefined ? undefined : { ...commitment, amount: convert(commitment.amount) },
    cap: orNone(content.cap),
  };
}

function modelIn(model: ChargeModel, convert: (amount: Decimal) => Decimal): ChargeModel {
  switch (model.kind) {
    case 'unit':
    case 'package':
      return { ...model, price: convert(model.price) };
    case 'flat':
      return { ...model, amount: convert(model.amount) };
    case 'graduated':
    case 'volume': {
      const tier = (each: Tier): Tier => {
        return { ...each, unitPrice: convert(each.unitPrice), flatAmount: convert(each.flatAmount) };
      };
      return { ...model, tiers: model.tiers.map(tier) };
    }
  }
}

function discountIn(terms: DiscountTerms, convert: (amount: Decimal) => Decimal): DiscountTerms {
  const { value } = terms;
  return value.kind === 'percent' ? terms : { ...terms, value: { ...value, amount: convert(value.amount) } };
}
