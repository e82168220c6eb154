import type { HandlerContext } from '@connectrpc/connect';
import { fromJsonString, type MessageInitShape } from '@bufbuild/protobuf';
import type { ClickHouseClient } from '@clickhouse/client';
import { BillingMetricsSchema } from '../../gen/billing/v1/metrics_pb.ts';
import type {
  ListRefusedWindowsRequest,
  ListRefusedWindowsResponseSchema,
  RefusedWindowSchema,
} from '../../gen/billing/v1/refused_pb.ts';
import { listRefusedWindows as list, type RefusedWindow } from '../usage/refused-windows.ts';
import { pageSize, toTimestamp } from './fields.ts';
import { fromPageToken, NANOS_FORM, pageOf } from './page-token.ts';

/** When it was received, in Unix nanoseconds, and the row. */
const TOKEN = new RegExp(`^${NANOS_FORM} [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`);

export function listRefusedWindows(clickhouse: ClickHouseClient) {
  return async (
    request: ListRefusedWindowsRequest,
    { signal }: HandlerContext,
  ): Promise<MessageInitShape<typeof ListRefusedWindowsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const [at, id] = fromPageToken(request.pageToken, TOKEN)?.split(' ') ?? [];
    const after = at === undefined || id === undefined ? undefined : { receivedAtNanos: BigInt(at), id };
    const rows = await list(clickhouse, request, { after, limit: size + 1 }, signal);
    const { page, nextPageToken } = pageOf(rows, size, (row) => `${row.receivedAtNanos} ${row.id}`);
    return { windows: page.map(toMessage), nextPageToken };
  };
}

function toMessage(window: RefusedWindow): MessageInitShape<typeof RefusedWindowSchema> {
  const { receivedAtNanos, credentialId, instanceId, metrics, code, field, message } = window;
  const common = { receivedAt: toTimestamp(receivedAtNanos), credentialId, instanceId, code, field, message };
  if (metrics === '') return common;
  return { ...common, metrics: fromJsonString(BillingMetricsSchema, metrics, { ignoreUnknownFields: true }) };
}
