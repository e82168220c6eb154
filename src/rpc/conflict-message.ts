import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ConflictSchema } from '../../gen/billing/v1/conflicts_pb.ts';
import type { Conflict } from '../usage/conflicts.ts';
import { toTimestamp } from './fields.ts';
import { toHashText, toReportMessage } from './window-report-message.ts';

export function toConflictMessage(conflict: Conflict): MessageInitShape<typeof ConflictSchema> {
  const { customerId, vmId, startNanos, endNanos, reports, resolution } = conflict;
  const window = { customerId, vmId, windowStart: toTimestamp(startNanos), windowEnd: toTimestamp(endNanos) };
  const message = { ...window, reports: reports.map(toReportMessage) };
  if (resolution === undefined) return message;
  const { valueHash, resolvedBy, resolvedAtNanos, reason } = resolution;
  const resolvedAt = toTimestamp(resolvedAtNanos);
  return { ...message, resolution: { valueHash: toHashText(valueHash), resolvedBy, resolvedAt, reason } };
}
