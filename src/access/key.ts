import { CallerFault } from '../lib/failure.ts';

/** What a key is for. `admin` may do what `operator` may, and make keys. */
export type KeyRole = 'collector' | 'customer' | 'operator' | 'admin';

/** A key as stored, without its secret. */
export interface Key {
  readonly keyId: string;
  readonly name: string;
  readonly role: KeyRole;
  /** Collector: the regions it may report for; `*` is any. Empty for every other role. */
  readonly regions: readonly string[];
  /** Collector: the customers it may report for, any where empty. Customer: exactly one. Empty for every other role. */
  readonly customerIds: readonly string[];
  /** Collector: whether windows older than the late bound are taken. */
  readonly backfill: boolean;
  readonly createdAt: Date;
  readonly revokedAt: Date | undefined;
}

/** What is asked for a new key. */
export type KeyRequest = Pick<Key, 'name' | 'role' | 'regions' | 'customerIds' | 'backfill'>;

const NAME_LENGTH_MAX = 200;
const LIST_LENGTH_MAX = 1000;

/** @throws CallerFault where the role and what it is scoped to do not fit */
export function checkKeyRequest(request: KeyRequest): void {
  const { name, role, regions, customerIds, backfill } = request;
  if (name.trim() === '') throw invalid('name', 'name is empty');
  if (name.length > NAME_LENGTH_MAX) throw invalid('name', `name is ${name.length} long, more than ${NAME_LENGTH_MAX}`);
  for (const [field, values] of [
    ['regions', regions],
    ['customer_ids', customerIds],
  ] as const) {
    if (values.length > LIST_LENGTH_MAX) {
      throw invalid(field, `${field} has ${values.length} entries, more than ${LIST_LENGTH_MAX}`);
    }
    if (values.includes('')) throw invalid(field, `${field} has an empty entry`);
  }
  if (role === 'collector' && regions.length === 0) {
    throw invalid('regions', 'regions is empty: a collector key names the regions it reports for, or "*"');
  }
  if (role !== 'collector' && regions.length > 0) throw invalid('regions', `regions: a ${role} key has none`);
  if (role !== 'collector' && backfill) throw invalid('backfill', `backfill: a ${role} key cannot have it`);
  if (role === 'customer' && customerIds.length !== 1) {
    throw invalid('customer_ids', `customer_ids has ${customerIds.length} entries: a customer key has exactly one`);
  }
  if ((role === 'operator' || role === 'admin') && customerIds.length > 0) {
    throw invalid('customer_ids', `customer_ids: a key of role ${role} sees all and names none`);
  }
}

function invalid(field: string, message: string): CallerFault {
  return new CallerFault('invalid_argument', field, message);
}
