import type { HandlerContext } from '@connectrpc/connect';
import type { ClickHouseClient } from '@clickhouse/client';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { VerifyAuditRequest, VerifyAuditResponseSchema } from '../../gen/billing/v1/audit_pb.ts';
import { readAnchors } from '../audit/anchors.ts';
import { verifyAudit as verify } from '../audit/verify-audit.ts';
import type { BillingStore } from '../billing/store.ts';

export function verifyAudit({ db }: BillingStore, clickhouse: ClickHouseClient) {
  return async (
    _: VerifyAuditRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof VerifyAuditResponseSchema>> => {
    const verdict = await verify(db, readAnchors(clickhouse, 1n, context.signal));
    if (!verdict.intact) return { intact: false, brokenAt: verdict.sequence, problem: verdict.problem };
    return { intact: true, records: verdict.records, headHash: Buffer.from(verdict.headHash).toString('hex') };
  };
}
