import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListManualLinesRequest, ListManualLinesResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { listManualLines as list } from '../billing/invoice/manual-lines.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { toManualLineMessage } from './manual-line-message.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** The line, its instant in Unix milliseconds, and the customer. */
const TOKEN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} -?\d{1,15} .+$/su;

export function listManualLines({ db }: BillingStore) {
  return async (request: ListManualLinesRequest): Promise<MessageInitShape<typeof ListManualLinesResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const token = fromPageToken(request.pageToken, TOKEN);
    const customerId = request.customerId === '' ? undefined : request.customerId;
    const rows = await list(db, customerId, token === undefined ? undefined : parseToken(token), size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (line) => {
      return `${line.manualLineId} ${line.at.getTime()} ${line.customerId}`;
    });
    return { lines: page.map(toManualLineMessage), nextPageToken };
  };
}

function parseToken(token: string): { manualLineId: string; at: Date; customerId: string } {
  const [manualLineId = '', ms = '', ...customerId] = token.split(' ');
  return { manualLineId, at: new Date(Number(ms)), customerId: customerId.join(' ') };
}
