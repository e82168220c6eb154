import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type ChargeSchema,
  GapPolicy,
  type PlanContent as PlanContentMessage,
  type PlanContentSchema,
  type PlanDraftSchema,
  type PlanVersionSchema,
} from '../../gen/billing/v1/plans_pb.ts';
import { type Decimal, formatDecimal } from '../billing/money.ts';
import type { PlanContentText } from '../billing/plans/parse-content.ts';
import type { PlanDraft } from '../billing/plans/plan-drafts.ts';
import type { PlanVersion } from '../billing/plans/plan-version.ts';
import { ratesOf } from '../billing/rating/content-json.ts';
import type { Charge, PlanContent } from '../billing/rating/plan-content.ts';
import { CallerFault } from '../lib/failure.ts';
import { toDiscountTermsMessage } from './discount-message.ts';

type ModelMessage = NonNullable<MessageInitShape<typeof ChargeSchema>['model']>;

export function toPlanMessage(plan: PlanVersion): MessageInitShape<typeof PlanVersionSchema> {
  const { planId, version, currency, content, validFrom } = plan;
  const rates = ratesOf(content);
  return {
    planId,
    version,
    currency,
    validFrom: timestampFromDate(validFrom),
    content: toContentMessage(content),
    ...(rates === undefined ? {} : { rates }),
  };
}

export function toDraftMessage(draft: PlanDraft): MessageInitShape<typeof PlanDraftSchema> {
  const { planId, currency, content, savedAt, revision } = draft;
  return { planId, currency, revision, savedAt: timestampFromDate(savedAt), content: toContentMessage(content) };
}

/** @throws CallerFault where there is no such gap policy */
export function toContentText(message: PlanContentMessage): PlanContentText {
  return { ...message, gapPolicy: toGapPolicy(message.gapPolicy) };
}

function toGapPolicy(policy: GapPolicy): PlanContentText['gapPolicy'] {
  const field = 'content.gap_policy';
  switch (policy) {
    case GapPolicy.UNSPECIFIED:
    case GapPolicy.SKIP:
      return 'skip';
    case GapPolicy.INTERPOLATE:
      return 'interpolate';
    case GapPolicy.CARRY:
      return 'carry';
    default: {
      throw new CallerFault('invalid_argument', field, `${field}: ${String(policy)} is no gap policy`);
    }
  }
}

const GAP_POLICIES = { skip: GapPolicy.SKIP, interpolate: GapPolicy.INTERPOLATE, carry: GapPolicy.CARRY } as const;

function toContentMessage(content: PlanContent): MessageInitShape<typeof PlanContentSchema> {
  const { name, charges, allowances, discounts, minimum, commitment, cap, gapPolicy, gapSecondsMax } = content;
  return {
    name,
    charges: charges.map(toChargeMessage),
    allowances: allowances.map(({ metric, quantity }) => ({ metric, quantity: formatDecimal(quantity) })),
    discounts: discounts.map(toDiscountTermsMessage),
    minimum: optionalText(minimum),
    cap: optionalText(cap),
    gapPolicy: GAP_POLICIES[gapPolicy],
    gapSecondsMax,
    ...(commitment === undefined
      ? {}
      : {
          commitment: {
            amount: formatDecimal(commitment.amount),
            overagePercent: formatDecimal(commitment.overagePercent),
          },
        }),
  };
}

function toChargeMessage(charge: Charge): MessageInitShape<typeof ChargeSchema> {
  const { chargeId, description, metric, regions, cap, minimum } = charge;
  const limits = { cap: optionalText(cap), minimum: optionalText(minimum) };
  return { chargeId, description, metric, regions: [...regions], ...limits, model: toModelMessage(charge.model) };
}

function toModelMessage(model: Charge['model']): ModelMessage {
  switch (model.kind) {
    case 'unit':
      return { case: 'unitPrice', value: { price: formatDecimal(model.price) } };
    case 'graduated':
    case 'volume': {
      const tiers = model.tiers.map(({ upTo, unitPrice, flatAmount }) => ({
        upTo: optionalText(upTo),
        unitPrice: formatDecimal(unitPrice),
        flatAmount: formatDecimal(flatAmount),
      }));
      return { case: model.kind, value: { tiers } };
    }
    case 'package': {
      const [size, price] = [formatDecimal(model.size), formatDecimal(model.price)];
      return { case: 'packagePrice', value: { size, price } };
    }
    case 'flat':
      return { case: 'flatFee', value: { amount: formatDecimal(model.amount), inAdvance: model.inAdvance } };
  }
}

function optionalText(value: Decimal | undefined): string {
  return value === undefined ? '' : formatDecimal(value);
}
