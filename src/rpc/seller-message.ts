import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SellerSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { Seller } from '../billing/seller.ts';

export function toSellerMessage(seller: Seller): MessageInitShape<typeof SellerSchema> {
  return { ...seller, addressLines: [...seller.addressLines], paymentLines: [...seller.paymentLines] };
}
