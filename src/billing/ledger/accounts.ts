import type { Decimal } from '../money.ts';
import { negate } from '../money.ts';
import type { Posting } from './post.ts';

/** The accounts of the books, and what an invoice is in them. */

export const REVENUE = 'revenue';
export const CASH = 'cash';

export function receivableOf(customerId: string): string {
  return `receivable:${customerId}`;
}

/** E.g. "tax:DE:VAT". */
export function taxAccount(region: string, name: string): string {
  return `tax:${region}:${name}`;
}

/** What is owed, with the taxes in it. */
export interface Owed {
  readonly customerId: string;
  readonly currency: string;
  /** Of `taxes`. */
  readonly taxRegion: string;
  readonly net: Decimal;
  readonly taxes: readonly { readonly name: string; readonly amount: Decimal }[];
  readonly total: Decimal;
}

/** Debit what the customer owes, credit revenue and each tax; a tax of 0 is in no account. */
export function postingsOf({ customerId, currency, taxRegion, net, taxes, total }: Owed): Posting[] {
  const charged = taxes.filter((tax) => tax.amount.units !== 0n);
  return [
    { account: receivableOf(customerId), currency, amount: total },
    { account: REVENUE, currency, amount: negate(net) },
    ...charged.map(({ name, amount }) => ({ account: taxAccount(taxRegion, name), currency, amount: negate(amount) })),
  ];
}

export function reversed(postings: readonly Posting[]): Posting[] {
  return postings.map((posting) => ({ ...posting, amount: negate(posting.amount) }));
}
