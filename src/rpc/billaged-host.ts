import type { Key } from '../access/key.ts';
import type { Host } from '../ingest/accept-lifecycle.ts';
import { CallerFault } from '../lib/failure.ts';
import { senderOf } from './send-metrics-batch.ts';

/**
 * The host behind a call of `billaged.v1`, whose messages name no region.
 * @throws CallerFault failed_precondition where the key does not name exactly one
 */
export function hostOf(key: Key): Host {
  const [region, ...others] = key.regions;
  if (region === undefined || region === '*' || others.length > 0) {
    const message = `region: billaged.v1 names none, so its key has to be for exactly one; key ${key.keyId} is for ${key.regions.join(', ')}`;
    throw new CallerFault('failed_precondition', 'region', message);
  }
  return { sender: senderOf(key), region };
}

/**
 * How the counters of the host count. It is never guessed.
 * @throws CallerFault failed_precondition where the key does not say it
 */
export function countersOf({ keyId, billagedCounters }: Key): NonNullable<Key['billagedCounters']> {
  if (billagedCounters !== undefined) return billagedCounters;
  const message = `billaged_counters: key ${keyId} does not say whether its host sends totals or deltas; make one that does`;
  throw new CallerFault('failed_precondition', 'billaged_counters', message);
}
