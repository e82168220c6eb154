import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { GapSchema, GapService } from '../../gen/billing/v1/gaps_pb.ts';
import type { Session } from './session.ts';
import { instant, shown } from './values.ts';

interface ListOptions {
  readonly from: Timestamp;
  readonly until: Timestamp;
  readonly vm: string;
}

/** `meterd gap …`: time in which a VM ran and nothing was reported. */
export function gapCommands(program: Command, session: Session): void {
  const group = program.command('gap').description('time in which a VM ran and nothing was reported');
  group
    .command('list <customer>')
    .description('by start; with --json what plans that fill gaps would fill in')
    .requiredOption('--from <instant>', 'on a whole hour', instant)
    .requiredOption('--until <instant>', 'on a whole hour', instant)
    .option('--vm <vm>', 'only of this VM', '')
    .action(async (customerId: string, { from: start, until: end, vm }: ListOptions) => {
      const gaps = await session.client(GapService);
      const vmIds = vm === '' ? [] : [vm];
      await session.list({
        schema: GapSchema,
        ask: (page) => gaps.listGaps({ ...page, customerId, start, end, vmIds }),
        rows: (answer) => answer.gaps,
        columns: {
          VM: (row) => row.vmId,
          Region: (row) => row.region,
          From: (row) => shown(row.start),
          Until: (row) => shown(row.end),
          'Known by': (row) => row.evidence,
          'May be filled': (row) => (row.carried === undefined ? 'no' : 'yes'),
        },
      });
    });
}
