import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type BillingDetails as DetailsMessage,
  type BillingDetailsSchema,
  type CustomerSchema,
  TaxTreatment,
} from '../../gen/billing/v1/customers_pb.ts';
import { type BillingDetails, NO_DETAILS } from '../billing/billing-details.ts';
import type { Customer } from '../billing/customers.ts';
import { CallerFault } from '../lib/failure.ts';

const TREATMENTS = {
  standard: TaxTreatment.STANDARD,
  reverse_charge: TaxTreatment.REVERSE_CHARGE,
  exempt: TaxTreatment.EXEMPT,
} as const satisfies Record<BillingDetails['taxTreatment'], TaxTreatment>;

export function toCustomerMessage(customer: Customer): MessageInitShape<typeof CustomerSchema> {
  const { customerId, name, currency, timeZone, anchorDay, details, createdAt, erasedAt } = customer;
  return {
    customerId,
    name,
    currency,
    timeZone,
    anchorDay,
    details: toDetailsMessage(details),
    createdAt: timestampFromDate(createdAt),
    registered: true,
    ...(erasedAt === undefined ? {} : { erasedAt: timestampFromDate(erasedAt) }),
  };
}

/** @returns `undefined` where they are left out @throws CallerFault where there is no such tax treatment */
export function toDetails(message: DetailsMessage | undefined): BillingDetails | undefined {
  if (message === undefined) return undefined;
  const { taxTreatment, paymentTermsDays = NO_DETAILS.paymentTermsDays } = message;
  return { ...message, taxTreatment: toTreatment(taxTreatment), paymentTermsDays };
}

function toDetailsMessage(details: BillingDetails): MessageInitShape<typeof BillingDetailsSchema> {
  return { ...details, addressLines: [...details.addressLines], taxTreatment: TREATMENTS[details.taxTreatment] };
}

function toTreatment(treatment: TaxTreatment): BillingDetails['taxTreatment'] {
  switch (treatment) {
    case TaxTreatment.UNSPECIFIED:
    case TaxTreatment.STANDARD:
      return 'standard';
    case TaxTreatment.REVERSE_CHARGE:
      return 'reverse_charge';
    case TaxTreatment.EXEMPT:
      return 'exempt';
    default: {
      const field = 'details.tax_treatment';
      throw new CallerFault('invalid_argument', field, `${field}: ${String(treatment)} is no tax treatment`);
    }
  }
}
