import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetSellerResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { readSeller } from '../billing/seller.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { toSellerMessage } from './seller-message.ts';

export function getSeller({ db }: BillingStore) {
  return async (): Promise<MessageInitShape<typeof GetSellerResponseSchema>> => {
    const seller = await readSeller(db);
    if (seller === undefined) throw new CallerFault('not_found', '', 'nobody has said yet who invoices are from');
    return { seller: toSellerMessage(seller) };
  };
}
