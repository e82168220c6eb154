import type { Kysely, Transaction } from 'kysely';
import type { Clock } from '../lib/clock.ts';
import { CallerFault } from '../lib/failure.ts';
import { withTransactionLock } from '../storage/postgres/advisory-lock.ts';
import type { Database } from '../storage/postgres/schema.ts';

/** What every write of this folder needs. */
export interface BillingStore {
  readonly db: Kysely<Database>;
  readonly clock: Clock;
}

const ID_BYTES_MAX = 128;
const NAME_LENGTH_MAX = 200;

/**
 * Holds prices and subscriptions still until the transaction ends. Whoever changes them takes it, and whoever makes an
 * invoice final: otherwise a price could change in a month that is being made final with the old one.
 */
export async function lockPrices(transaction: Transaction<Database>): Promise<void> {
  await withTransactionLock(transaction, 'meterd.prices');
}

/** The same rule as for the ids in windows, or what is metered could not be billed. @throws CallerFault */
export function checkId(field: string, value: string): void {
  checkText(field, value);
  const bytes = Buffer.byteLength(value);
  if (bytes > ID_BYTES_MAX) throw invalid(field, `${field} is ${bytes} bytes long, more than ${ID_BYTES_MAX}`);
}

/** @throws CallerFault */
export function checkName(field: string, value: string): void {
  checkText(field, value);
  if (value.length > NAME_LENGTH_MAX)
    throw invalid(field, `${field} is ${value.length} long, more than ${NAME_LENGTH_MAX}`);
}

function checkText(field: string, value: string): void {
  if (value === '') throw invalid(field, `${field} is empty`);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code >= 0x20 && code !== 0x7f) continue;
    throw invalid(field, `${field}: ${JSON.stringify(value)} has a control character at ${i}`);
  }
}

function invalid(field: string, message: string): CallerFault {
  return new CallerFault('invalid_argument', field, message);
}
