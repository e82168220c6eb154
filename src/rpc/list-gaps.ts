import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GapSchema, ListGapsRequest, ListGapsResponseSchema } from '../../gen/billing/v1/gaps_pb.ts';
import { type Gap, type GapKey, listGaps as list } from '../usage/gaps.ts';
import { customerInScope } from './auth.ts';
import { pageSize, requireNanos, toTimestamp } from './fields.ts';
import { fromPageToken, NANOS_FORM, pageOf } from './page-token.ts';
import type { Readable } from './readable-store.ts';
import { toQuantitiesMessage } from './usage-message.ts';

/** The start in Unix nanoseconds, and the VM. Ids have no control characters. */
const TOKEN = new RegExp(String.raw`^${NANOS_FORM}\0[^\0]+$`, 'u');

export function listGaps(readable: Readable) {
  return async (
    request: ListGapsRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListGapsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const filter = {
      customerId: customerInScope(context, request.customerId),
      startNanos: requireNanos('start', request.start),
      endNanos: requireNanos('end', request.end),
      vmIds: request.vmIds,
    };
    const after = toKey(fromPageToken(request.pageToken, TOKEN));
    const rows = await list(readable(context).clickhouse, filter, { after, limit: size + 1 }, context.signal);
    const { page, nextPageToken } = pageOf(rows, size, ({ startNanos, vmId }) => [startNanos, vmId].join('\0'));
    return { gaps: page.map(toMessage), nextPageToken };
  };
}

function toKey(token: string | undefined): GapKey | undefined {
  if (token === undefined) return undefined;
  const [start = '', vmId = ''] = token.split('\0');
  return { startNanos: BigInt(start), vmId };
}

function toMessage(gap: Gap): MessageInitShape<typeof GapSchema> {
  const { vmId, region, startNanos, endNanos, evidence, filled } = gap;
  const common = { vmId, region, start: toTimestamp(startNanos), end: toTimestamp(endNanos), evidence };
  if (filled === undefined) return common;
  return {
    ...common,
    interpolated: toQuantitiesMessage({ ...filled.interpolated, windows: 0n }),
    carried: toQuantitiesMessage({ ...filled.carried, windows: 0n }),
  };
}
