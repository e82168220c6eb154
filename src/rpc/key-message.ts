import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { KeyRole, type KeySchema } from '../../gen/billing/v1/keys_pb.ts';
import type { Key, KeyRole as Role } from '../access/key.ts';
import { CallerFault } from '../lib/failure.ts';

const ROLES = {
  collector: KeyRole.COLLECTOR,
  customer: KeyRole.CUSTOMER,
  operator: KeyRole.OPERATOR,
  admin: KeyRole.ADMIN,
} as const satisfies Record<Role, KeyRole>;

export function toKeyMessage(key: Key): MessageInitShape<typeof KeySchema> {
  return {
    keyId: key.keyId,
    name: key.name,
    role: ROLES[key.role],
    regions: [...key.regions],
    customerIds: [...key.customerIds],
    backfill: key.backfill,
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
