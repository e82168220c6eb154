import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type {
  Discount as DiscountMessage,
  DiscountSchema,
  DiscountTermsSchema,
} from '../../gen/billing/v1/discounts_pb.ts';
import { formatDecimal } from '../billing/money.ts';
import type { CustomerDiscount, DiscountRequest } from '../billing/plans/discounts.ts';
import type { DiscountTerms } from '../billing/rating/plan-content.ts';
import { CallerFault } from '../lib/failure.ts';
import { optionalDate, requireDate } from './fields.ts';

export function toDiscountTermsMessage(terms: DiscountTerms): MessageInitShape<typeof DiscountTermsSchema> {
  const { description, value, chargeIds, order } = terms;
  const text =
    value.kind === 'percent'
      ? ({ case: 'percent', value: formatDecimal(value.percent) } as const)
      : ({ case: 'amount', value: formatDecimal(value.amount) } as const);
  return { description, value: text, chargeIds: [...chargeIds], order };
}

export function toDiscountMessage(discount: CustomerDiscount): MessageInitShape<typeof DiscountSchema> {
  const { discountId, customerId, terms, validFrom, validUntil } = discount;
  return {
    discountId,
    customerId,
    terms: toDiscountTermsMessage(terms),
    validFrom: timestampFromDate(validFrom),
    ...(validUntil === undefined ? {} : { validUntil: timestampFromDate(validUntil) }),
  };
}

/** @throws CallerFault where it, its terms or its start are missing */
export function toDiscountRequest(message: DiscountMessage | undefined): DiscountRequest {
  if (message === undefined) throw new CallerFault('invalid_argument', 'discount', 'discount is missing');
  const { discountId, customerId, terms } = message;
  if (terms === undefined) throw new CallerFault('invalid_argument', 'discount.terms', 'discount.terms is missing');
  const validFrom = requireDate('discount.valid_from', message.validFrom);
  const validUntil = optionalDate('discount.valid_until', message.validUntil);
  return { discountId, customerId, terms, validFrom, validUntil };
}
