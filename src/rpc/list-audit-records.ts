import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ListAuditRecordsRequest, ListAuditRecordsResponseSchema } from '../../gen/billing/v1/audit_pb.ts';
import { listAudit } from '../audit/trail.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

export function listAuditRecords({ db }: BillingStore) {
  return async (request: ListAuditRecordsRequest): Promise<MessageInitShape<typeof ListAuditRecordsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const before = fromPageToken(request.pageToken, /^\d{1,18}$/);
    const filter = {
      before: before === undefined ? undefined : BigInt(before),
      subject: request.subject || undefined,
      actionPrefix: request.actionPrefix || undefined,
    };
    const rows = await listAudit(db, filter, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (record) => String(record.sequence));
    const records = page.map(({ sequence, at, actor, action, subject, detail, hash }) => {
      return {
        sequence,
        at: timestampFromDate(at),
        actor,
        action,
        subject,
        detail,
        hash: Buffer.from(hash).toString('hex'),
      };
    });
    return { records, nextPageToken };
  };
}
