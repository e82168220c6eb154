import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { type Conflict, ConflictSchema, ConflictService } from '../../gen/billing/v1/conflicts_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { instant, shown } from './values.ts';

interface ListOptions {
  readonly from: Timestamp;
  readonly until: Timestamp;
  readonly resolved?: boolean;
}

interface ResolveOptions {
  readonly start: Timestamp;
  readonly end?: Timestamp;
  readonly report: string;
  readonly reason: string;
}

const COLUMNS: Columns<Conflict> = {
  Customer: (row) => row.customerId,
  VM: (row) => row.vmId,
  Start: (row) => shown(row.windowStart),
  End: (row) => (isReading(row) ? 'a reading' : shown(row.windowEnd)),
  Reports: (row) => row.reports.map((report) => report.valueHash).join(', '),
  Counts: (row) => row.resolution?.valueHash ?? 'the first',
  By: (row) => row.resolution?.resolvedBy ?? '',
};

/** What is reported for an instant is a reading of counters. */
function isReading({ windowStart, windowEnd }: Conflict): boolean {
  return windowStart?.seconds === windowEnd?.seconds && windowStart?.nanos === windowEnd?.nanos;
}

/** `meterd conflict …`: windows and readings that were reported twice with different values. */
export function conflictCommands(program: Command, session: Session): void {
  const group = program
    .command('conflict')
    .description('windows and readings that were reported twice with different values');
  group
    .command('list [customer]')
    .description('of a customer or of all, by VM and start; with --json all of what each report says')
    .requiredOption('--from <instant>', 'on a whole hour', instant)
    .requiredOption('--until <instant>', 'on a whole hour', instant)
    .option('--resolved', 'those that somebody decided too')
    .action(async (customerId = '', { from: start, until: end, resolved = false }: ListOptions) => {
      const conflicts = await session.client(ConflictService);
      await session.list({
        schema: ConflictSchema,
        ask: (page) => conflicts.listConflicts({ ...page, customerId, start, end, includeResolved: resolved }),
        rows: (answer) => answer.conflicts,
        columns: COLUMNS,
      });
    });
  group
    .command('resolve <customer> <vm>')
    .description('say which report counts')
    .requiredOption('--start <instant>', "the window's, or that of the reading", instant)
    .option('--end <instant>', "the window's; left out for a reading", instant)
    .requiredOption('--report <hash>', 'the report that is to count')
    .requiredOption('--reason <text>')
    .action(async (customerId: string, vmId: string, options: ResolveOptions) => {
      const { start: windowStart, end: windowEnd = windowStart, report: valueHash, reason } = options;
      const conflicts = await session.client(ConflictService);
      const wanted = { customerId, vmId, windowStart, windowEnd, valueHash, reason };
      session.show(ConflictSchema, (await conflicts.resolveConflict(wanted)).conflict, COLUMNS);
    });
}
