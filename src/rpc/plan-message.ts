import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { PlanVersionSchema } from '../../gen/billing/v1/plans_pb.ts';
import { type PlanVersion, toRates } from '../billing/plans/plan-version.ts';

export function toPlanMessage(plan: PlanVersion): MessageInitShape<typeof PlanVersionSchema> {
  const { planId, version, currency, prices, validFrom } = plan;
  return { planId, version, currency, rates: toRates(prices), validFrom: timestampFromDate(validFrom) };
}
