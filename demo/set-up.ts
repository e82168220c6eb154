import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { CustomerService } from '../gen/billing/v1/customers_pb.ts';
import { KeyRole, KeyService } from '../gen/billing/v1/keys_pb.ts';
import { PlanService } from '../gen/billing/v1/plans_pb.ts';
import { clientOf } from './clients.ts';
import type { WorkedExample } from './worked-example.ts';

/** Where a meterd is and its admin key. */
export interface Target {
  readonly url: string;
  readonly adminKey: string;
}

/** One host's key: it may report for one region. */
export interface HostKey {
  readonly keyId: string;
  readonly secret: string;
  readonly region: string;
}

/** Prices do not depend on the month that is replayed, so that a later run finds them as they are. */
const PRICES_FROM_MS = Date.UTC(2026, 0, 1);

/** Registers the customer and publishes the plan. Again changes nothing. */
export async function registerCustomer(target: Target, example: WorkedExample): Promise<void> {
  const { customerId, planId } = example;
  const customers = clientOf(CustomerService, target.url, target.adminKey);
  const plans = clientOf(PlanService, target.url, target.adminKey);
  await customers.createCustomer({ customerId, name: 'Acme Ltd', currency: 'USD' });
  const rates = { cpuPerCoreHour: 0.05, memoryPerGbHour: 0.02, diskIoPerGb: 0.01, networkPerGb: 0.01 };
  await plans.publishPlan({ planId, currency: 'USD', rates, validFrom: timestampFromMs(PRICES_FROM_MS) });
}

/**
 * Gives the customer the plan. Only once the month's windows are in: the month is long over, so from the subscription on
 * the invoice job may make its invoice final at any moment.
 */
export async function subscribe(target: Target, { customerId, planId }: WorkedExample): Promise<void> {
  const plans = clientOf(PlanService, target.url, target.adminKey);
  await plans.subscribe({ customerId, planId, startsAt: timestampFromMs(PRICES_FROM_MS) });
}

/** A collector key per region, with the right to backfill: the month lies in the past. */
export async function createHostKeys(target: Target, example: WorkedExample): Promise<HostKey[]> {
  const keys = clientOf(KeyService, target.url, target.adminKey);
  const regions = [...new Set(example.vms.map((vm) => vm.region))];
  return Promise.all(
    regions.map(async (region) => {
      const name = `demo host in ${region}`;
      const made = await keys.createKey({ name, role: KeyRole.COLLECTOR, regions: [region], backfill: true });
      return { keyId: made.key?.keyId ?? '', secret: made.secret, region };
    }),
  );
}

/** The hosts have nothing more to say. */
export async function revokeHostKeys(target: Target, hostKeys: readonly HostKey[]): Promise<void> {
  const keys = clientOf(KeyService, target.url, target.adminKey);
  for (const { keyId } of hostKeys) await keys.revokeKey({ keyId });
}
