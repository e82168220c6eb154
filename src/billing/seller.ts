import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Database } from '../storage/postgres/schema.ts';
import { appendAudit } from '../audit/trail.ts';
import type { InvoiceInput } from './invoice/invoice-input.ts';
import { parseLines, parseParty } from './party.ts';
import { type BillingStore, lockPrices } from './store.ts';

/** Who invoices are from. */
export type Seller = NonNullable<InvoiceInput['seller']>;

const stored = z.strictObject({
  name: z.string(),
  addressLines: z.array(z.string()).readonly(),
  country: z.string(),
  taxId: z.string(),
  email: z.string(),
  paymentLines: z.array(z.string()).readonly(),
}) satisfies z.ZodType<Seller>;

/** Invoices are from this seller from now on; final ones keep theirs. The same again changes nothing. @throws CallerFault */
export async function putSeller(store: BillingStore, request: Seller, actor: string): Promise<Seller> {
  const party = parseParty('seller', request);
  const seller: Seller = { ...party, paymentLines: parseLines('seller.payment_lines', request.paymentLines) };
  return store.db.transaction().execute(async (transaction) => {
    // None becomes final from here on that was computed with the seller of before.
    await lockPrices(transaction);
    const content = JSON.stringify(seller);
    const existing = await readSeller(transaction);
    if (existing !== undefined && JSON.stringify(existing) === content) return existing;
    const at = new Date(store.clock.nowMs());
    await transaction
      .insertInto('seller')
      .values({ content, put_at: at })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ content, put_at: at }))
      .execute();
    const { name, country, taxId: tax_id } = seller;
    const entry = { at, actor, action: 'seller.put', subject: 'seller', detail: { name, country, tax_id } };
    await appendAudit(transaction, entry);
    return seller;
  });
}

/** @returns `undefined` where nobody said who invoices are from */
export async function readSeller(db: Kysely<Database>): Promise<Seller | undefined> {
  const row = await db.selectFrom('seller').select('content').executeTakeFirst();
  return row === undefined ? undefined : z.parse(stored, row.content);
}
