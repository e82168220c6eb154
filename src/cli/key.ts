import type { Command } from 'commander';
import { CreateKeyResponseSchema, type Key, KeyRole, KeySchema, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import type { Session } from './session.ts';
import { type Columns, record } from './table.ts';
import { each, enumValue, named, shown } from './values.ts';

interface CreateOptions {
  readonly role: string;
  readonly region: string[];
  readonly customer: string[];
  readonly backfill?: boolean;
  readonly billagedCounters?: string;
  readonly spiffeId?: string;
}

const COLUMNS: Columns<Key> = {
  Key: (row) => row.keyId,
  Name: (row) => row.name,
  Role: (row) => named(KeyRole, row.role),
  Regions: (row) => row.regions.join(', '),
  Customers: (row) => row.customerIds.join(', '),
  Backfill: (row) => (row.backfill ? 'yes' : ''),
  Counters: (row) => (row.billagedCounters === 0 ? '' : named(CounterTemporality, row.billagedCounters)),
  'SPIFFE id': (row) => row.spiffeId,
  Created: (row) => shown(row.createdAt),
  Revoked: (row) => shown(row.revokedAt),
};

/** `meterd key …`: who may call. */
export function keyCommands(program: Command, session: Session): void {
  const group = program.command('key').description('who may call');
  group
    .command('create <name>')
    .description('the answer is the only place where its secret is')
    .requiredOption('--role <role>', 'collector, customer, operator or admin')
    .option('--region <region>', 'collector: may report for it, "*" for any; may be given several times', each, [])
    .option('--customer <customer>', 'customer: whose data it sees; collector: may report for it', each, [])
    .option('--backfill', 'collector: may report windows older than the late bound')
    .option('--billaged-counters <kind>', 'collector of one region that calls billaged.v1: cumulative or delta')
    .option('--spiffe-id <id>', 'collector: hosts show a client certificate with this id; the key has no secret')
    .action(async (name: string, options: CreateOptions) => {
      const { role, region, customer, backfill = false, billagedCounters, spiffeId = '' } = options;
      const keys = await session.client(KeyService);
      const counters =
        billagedCounters === undefined
          ? CounterTemporality.UNSPECIFIED
          : enumValue(CounterTemporality, billagedCounters, '--billaged-counters');
      const scope = { regions: region, customerIds: customer, backfill, billagedCounters: counters, spiffeId };
      const made = await keys.createKey({ name, role: enumValue(KeyRole, role, '--role'), ...scope });
      session.show(CreateKeyResponseSchema, made, ({ key, secret }) => {
        return `${key === undefined ? '' : record(COLUMNS, key)}${secret === '' ? '' : `Secret  ${secret}\n`}`;
      });
    });
  group
    .command('list')
    .description('all keys')
    .action(async () => {
      const keys = await session.client(KeyService);
      await session.list({
        schema: KeySchema,
        ask: (page) => keys.listKeys(page),
        rows: (answer) => answer.keys,
        columns: COLUMNS,
      });
    });
  group
    .command('revoke <key>')
    .description('end a key, within 60 seconds on every process')
    .action(async (keyId: string) => {
      await session.confirm(`This ends key ${keyId}`);
      session.show(KeySchema, (await (await session.client(KeyService)).revokeKey({ keyId })).key, COLUMNS);
    });
}
