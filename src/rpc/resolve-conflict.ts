import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ClickHouseClient } from '@clickhouse/client';
import type { ResolveConflictRequest, ResolveConflictResponseSchema } from '../../gen/billing/v1/conflicts_pb.ts';
import { appendAudit } from '../audit/trail.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { type Resolution, resolveConflict as resolve, type WindowKey } from '../usage/conflicts.ts';
import { callerOf } from './auth.ts';
import { toConflictMessage } from './conflict-message.ts';
import { requireNanos } from './fields.ts';
import { toHashText } from './window-report-message.ts';

/** @param rawDays how long windows and readings are kept */
export function resolveConflict({ db, clock }: BillingStore, clickhouse: ClickHouseClient, rawDays: number) {
  const record = async (key: WindowKey, { valueHash, resolvedBy, resolvedAtNanos, reason }: Resolution) => {
    const at = new Date(Number(resolvedAtNanos / 1_000_000n));
    const { customerId, vmId, startNanos, endNanos } = key;
    const window = { vm_id: vmId, window_start_nanos: String(startNanos), window_end_nanos: String(endNanos) };
    const detail = { ...window, value_hash: toHashText(valueHash), reason };
    await db.transaction().execute((transaction) => {
      const entry = { at, actor: resolvedBy, action: 'conflict.resolved', subject: customerId, detail };
      return appendAudit(transaction, entry);
    });
  };
  return async (
    request: ResolveConflictRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ResolveConflictResponseSchema>> => {
    const choice = {
      customerId: request.customerId,
      vmId: request.vmId,
      startNanos: requireNanos('window_start', request.windowStart),
      endNanos: requireNanos('window_end', request.windowEnd),
      valueHash: fromHashText(request.valueHash),
      reason: request.reason,
    };
    const conflicts = { clickhouse, clock, rawDays, record };
    const conflict = await resolve(conflicts, choice, callerOf(context).keyId, context.signal);
    return { conflict: toConflictMessage(conflict) };
  };
}

/** @throws CallerFault where it is no 16 hexadecimal digits */
function fromHashText(text: string): bigint {
  if (/^[0-9a-f]{16}$/.test(text)) return BigInt(`0x${text}`);
  const message = `value_hash: ${JSON.stringify(text.slice(0, 100))} is not 16 hexadecimal digits`;
  throw new CallerFault('invalid_argument', 'value_hash', message);
}
