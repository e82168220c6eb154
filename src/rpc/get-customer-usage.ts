import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type GetCustomerUsageRequest,
  type GetCustomerUsageResponseSchema,
  UsageDimension,
} from '../../gen/billing/v1/query_pb.ts';
import { CallerFault } from '../lib/failure.ts';
import { customerUsage, type UsageDimension as Dimension } from '../usage/customer-usage.ts';
import { customerInScope } from './auth.ts';
import { requireNanos, toTimestamp } from './fields.ts';
import type { Readable } from './readable-store.ts';
import { toQuantitiesMessage } from './usage-message.ts';

export function getCustomerUsage(readable: Readable) {
  return async (
    request: GetCustomerUsageRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetCustomerUsageResponseSchema>> => {
    const { regions, vmIds, pageSize, pageToken } = request;
    const asked = {
      customerId: customerInScope(context, request.customerId),
      startNanos: requireNanos('start', request.start),
      endNanos: requireNanos('end', request.end),
      groupBy: request.groupBy.map(requireDimension),
      regions,
      vmIds,
      pageSize,
      pageToken,
    };
    const { clickhouse } = readable(context);
    const { groups, total, completeness, gaps, nextPageToken } = await customerUsage(clickhouse, asked, context.signal);
    return {
      groups: groups.map((group) => ({
        region: group.region,
        vmId: group.vmId,
        start: toTimestamp(group.startNanos),
        end: toTimestamp(group.endNanos),
        quantities: toQuantitiesMessage(group.quantities),
      })),
      total: toQuantitiesMessage(total),
      completeness: {
        observedNanos: String(completeness.observedNanos),
        expectedNanos: String(completeness.expectedNanos),
        ratio: completeness.ratio,
        gaps: completeness.gaps,
        gapNanos: String(completeness.gapNanos),
        conflicts: completeness.conflicts,
      },
      gaps: gaps.map(({ vmId, startNanos, endNanos }) => {
        return { vmId, start: toTimestamp(startNanos), end: toTimestamp(endNanos) };
      }),
      nextPageToken,
    };
  };
}

function requireDimension(dimension: UsageDimension): Dimension {
  switch (dimension) {
    case UsageDimension.REGION:
      return 'region';
    case UsageDimension.VM:
      return 'vm';
    case UsageDimension.HOUR:
      return 'hour';
    case UsageDimension.DAY:
      return 'day';
    case UsageDimension.MONTH:
      return 'month';
    case UsageDimension.UNSPECIFIED:
    default: {
      const message = `group_by: ${String(dimension)} is none of REGION, VM, HOUR, DAY and MONTH`;
      throw new CallerFault('invalid_argument', 'group_by', message);
    }
  }
}
