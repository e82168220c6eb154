import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { KeyRole, type KeySchema } from '../../gen/billing/v1/keys_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import type { Key, KeyRole as Role } from '../access/key.ts';
import { CallerFault } from '../lib/failure.ts';

const ROLES = {
  collector: KeyRole.COLLECTOR,
  customer: KeyRole.CUSTOMER,
  operator: KeyRole.OPERATOR,
  admin: KeyRole.ADMIN,
} as const satisfies Record<Role, KeyRole>;

/** How counters count, as the contract says it. */
export const COUNTERS = {
  delta: CounterTemporality.DELTA,
  cumulative: CounterTemporality.CUMULATIVE,
} as const satisfies Record<NonNullable<Key['billagedCounters']>, CounterTemporality>;

export function toKeyMessage(key: Key): MessageInitShape<typeof KeySchema> {
  return {
    keyId: key.keyId,
    name: key.name,
    role: ROLES[key.role],
    regions: [...key.regions],
    customerIds: [...key.customerIds],
    backfill: key.backfill,
    ...(key.billagedCounters === undefined ? {} : { billagedCounters: COUNTERS[key.billagedCounters] }),
    spiffeId: key.spiffeId ?? '',
    createdAt: timestampFromDate(key.createdAt),
    ...(key.revokedAt === undefined ? {} : { revokedAt: timestampFromDate(key.revokedAt) }),
  };
}

/** @throws CallerFault where no role is named, or one that is not known */
export function requireRole(role: KeyRole): Role {
  switch (role) {
    case KeyRole.COLLECTOR:
      return 'collector';
    case KeyRole.CUSTOMER:
      return 'customer';
    case KeyRole.OPERATOR:
      return 'operator';
    case KeyRole.ADMIN:
      return 'admin';
    case KeyRole.UNSPECIFIED:
      throw new CallerFault('invalid_argument', 'role', 'role is missing');
    default:
      throw new CallerFault('invalid_argument', 'role', `role: ${String(role)} is not known`);
  }
}

/** @returns undefined where none are named. @throws CallerFault where they are not known */
export function parseBillagedCounters(counters: CounterTemporality): Key['billagedCounters'] {
  switch (counters) {
    case CounterTemporality.UNSPECIFIED:
      return undefined;
    case CounterTemporality.DELTA:
      return 'delta';
    case CounterTemporality.CUMULATIVE:
      return 'cumulative';
    default: {
      const message = `billaged_counters: ${String(counters)} is not known`;
      throw new CallerFault('invalid_argument', 'billaged_counters', message);
    }
  }
}
