import type { Command } from 'commander';
import { RefusedWindowSchema, RefusedWindowService } from '../../gen/billing/v1/refused_pb.ts';
import type { Session } from './session.ts';
import { shown } from './values.ts';

/** `meterd refused …`: windows that were not taken. */
export function refusedCommands(program: Command, session: Session): void {
  const group = program.command('refused').description('windows that were not taken');
  group
    .command('list')
    .description('of the last 35 days, newest first')
    .option('--customer <customer>', '', '')
    .option('--key <key>', 'only of this key', '')
    .action(async ({ customer: customerId, key: credentialId }: { customer: string; key: string }) => {
      const refused = await session.client(RefusedWindowService);
      await session.list({
        schema: RefusedWindowSchema,
        ask: (page) => refused.listRefusedWindows({ ...page, customerId, credentialId }),
        rows: (answer) => answer.windows,
        columns: {
          Received: (row) => shown(row.receivedAt),
          Key: (row) => row.credentialId,
          Customer: (row) => row.metrics?.customerId ?? '',
          VM: (row) => row.metrics?.vmId ?? '',
          Code: (row) => row.code,
          Why: (row) => row.message,
        },
      });
    });
}
