import { CallerFault } from '../lib/failure.ts';
import { isSpiffeId } from './peer-certificate.ts';

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
  /** Collector of one region: how the counters count that it sends by `billaged.v1`; `undefined`: it sends none. */
  readonly billagedCounters: 'delta' | 'cumulative' | undefined;
  /** Collector: what the host's client certificate says, in place of a secret; `undefined`: the key has a secret. */
  readonly spiffeId: string | undefined;
  readonly createdAt: Date;
  readonly revokedAt: Date | undefined;
}

/** What is asked for a new key. */
export type KeyRequest = Pick<Key, 'name' | 'role' | 'regions' | 'customerIds' | 'backfill'> &
  Partial<Pick<Key, 'billagedCounters' | 'spiffeId'>>;

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
  if (request.billagedCounters !== undefined && (regions.length !== 1 || regions[0] === '*')) {
    const message = `billaged_counters: billaged.v1 names no region, so the key has to name exactly one; it names ${regions.join(', ') || 'none'}`;
    throw invalid('billaged_counters', message);
  }
  if (request.spiffeId !== undefined && role !== 'collector') {
    throw invalid('spiffe_id', `spiffe_id: a ${role} key has a secret, and no certificate`);
  }
  if (request.spiffeId !== undefined && !isSpiffeId(request.spiffeId)) {
    const shown = JSON.stringify(request.spiffeId.slice(0, 200));
    throw invalid('spiffe_id', `spiffe_id: ${shown} is not spiffe://<trust domain>/<path>`);
  }
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
