import type { Selectable } from 'kysely';
import { CallerFault } from '../lib/failure.ts';
import { parseId } from '../lib/identifier.ts';
import type { CustomersTable } from '../storage/postgres/schema-billing.ts';
import { parseParty, parseText } from './party.ts';

/** What invoices say of their buyer, and how it is taxed. Empty texts are none. */
export interface BillingDetails {
  /** The customer's name where empty. */
  readonly legalName: string;
  readonly addressLines: readonly string[];
  /** ISO 3166-1, two letters. */
  readonly country: string;
  readonly taxId: string;
  readonly email: string;
  /** Whose tax rates apply; none where empty. */
  readonly taxRegion: string;
  readonly taxTreatment: 'standard' | 'reverse_charge' | 'exempt';
  readonly taxExemptReason: string;
  readonly pricesIncludeTax: boolean;
  /** Days from final to due: 0 to 365. */
  readonly paymentTermsDays: number;
}

const TERMS_DAYS_MAX = 365;

export const NO_DETAILS: BillingDetails = {
  legalName: '',
  addressLines: [],
  country: '',
  taxId: '',
  email: '',
  taxRegion: '',
  taxTreatment: 'standard',
  taxExemptReason: '',
  pricesIncludeTax: false,
  paymentTermsDays: 30,
};

/**
 * @param name the customer's, which stands on invoices where there is no legal name
 * @throws CallerFault invalid_argument, also where an exemption has no reason or a reverse charge no tax id
 */
export function parseDetails(details: BillingDetails, name: string): BillingDetails {
  const { addressLines, country, taxId, email } = parseParty('details', { ...details, name });
  const { taxTreatment, paymentTermsDays: days } = details;
  const taxExemptReason = parseText('details.tax_exempt_reason', details.taxExemptReason);
  if ((taxTreatment === 'exempt') !== (taxExemptReason !== '')) {
    const problem = taxExemptReason === '' ? 'is missing: invoices show it' : 'has no place where tax is charged';
    throw invalid('details.tax_exempt_reason', problem);
  }
  if (taxTreatment === 'reverse_charge' && taxId === '') {
    throw invalid('details.tax_id', 'is missing: a reverse charge needs it');
  }
  if (days < 0 || days > TERMS_DAYS_MAX) {
    throw invalid('details.payment_terms_days', `${days} is not from 0 to ${TERMS_DAYS_MAX}`);
  }
  return {
    ...details,
    legalName: parseText('details.legal_name', details.legalName),
    addressLines,
    country,
    taxId,
    email,
    taxRegion: details.taxRegion === '' ? '' : parseId('details.tax_region', details.taxRegion),
    taxExemptReason,
  };
}

export function detailsOf(row: Selectable<CustomersTable>): BillingDetails {
  return {
    legalName: row.legal_name,
    addressLines: row.address_lines,
    country: row.country,
    taxId: row.tax_id,
    email: row.email,
    taxRegion: row.tax_region,
    taxTreatment: row.tax_treatment,
    taxExemptReason: row.tax_exempt_reason,
    pricesIncludeTax: row.prices_include_tax,
    paymentTermsDays: row.payment_terms_days,
  };
}

/** The columns that hold the details. */
export function detailColumns(details: BillingDetails) {
  return {
    legal_name: details.legalName,
    address_lines: [...details.addressLines],
    country: details.country,
    tax_id: details.taxId,
    email: details.email,
    tax_region: details.taxRegion,
    tax_treatment: details.taxTreatment,
    tax_exempt_reason: details.taxExemptReason,
    prices_include_tax: details.pricesIncludeTax,
    payment_terms_days: details.paymentTermsDays,
  };
}

export function sameDetails(a: BillingDetails, b: BillingDetails): boolean {
  return JSON.stringify(detailColumns(a)) === JSON.stringify(detailColumns(b));
}

function invalid(field: string, problem: string): CallerFault {
  return new CallerFault('invalid_argument', field, `${field}: ${problem}`);
}
