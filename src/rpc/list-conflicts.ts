import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ClickHouseClient } from '@clickhouse/client';
import type { ListConflictsRequest, ListConflictsResponseSchema } from '../../gen/billing/v1/conflicts_pb.ts';
import { listConflicts as list, type WindowKey } from '../usage/conflicts.ts';
import { toConflictMessage } from './conflict-message.ts';
import { pageSize, requireNanos } from './fields.ts';
import { fromPageToken, NANOS_FORM, pageOf } from './page-token.ts';

/** Customer, VM, and the window's bounds in Unix nanoseconds. Ids have no control characters. */
const TOKEN = new RegExp(String.raw`^[^\0]+\0[^\0]+\0${NANOS_FORM}\0${NANOS_FORM}$`, 'u');

export function listConflicts(clickhouse: ClickHouseClient) {
  return async (
    request: ListConflictsRequest,
    { signal }: HandlerContext,
  ): Promise<MessageInitShape<typeof ListConflictsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const filter = {
      customerId: request.customerId,
      startNanos: requireNanos('start', request.start),
      endNanos: requireNanos('end', request.end),
      includeResolved: request.includeResolved,
    };
    const after = toKey(fromPageToken(request.pageToken, TOKEN));
    const rows = await list(clickhouse, filter, { after, limit: size + 1 }, signal);
    const { page, nextPageToken } = pageOf(rows, size, ({ customerId, vmId, startNanos, endNanos }) => {
      return [customerId, vmId, startNanos, endNanos].join('\0');
    });
    return { conflicts: page.map(toConflictMessage), nextPageToken };
  };
}

function toKey(token: string | undefined): WindowKey | undefined {
  if (token === undefined) return undefined;
  const [customerId = '', vmId = '', start = '', end = ''] = token.split('\0');
  return { customerId, vmId, startNanos: BigInt(start), endNanos: BigInt(end) };
}
