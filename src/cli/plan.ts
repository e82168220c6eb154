import type { Command } from 'commander';
import {
  MetricSchema,
  type PlanDraft,
  PlanContentSchema,
  type PlanDraftDifference,
  PlanDraftDifferenceSchema,
  PlanDraftSchema,
  PlanService,
  type PlanVersion,
  PlanVersionSchema,
} from '../../gen/billing/v1/plans_pb.ts';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { BadUsage, type Session } from './session.ts';
import type { Columns } from './table.ts';
import { instant, messageFromFile, shown, whole } from './values.ts';

const COLUMNS: Columns<PlanVersion> = {
  Plan: (row) => row.planId,
  Version: (row) => String(row.version),
  Currency: (row) => row.currency,
  'Valid from': (row) => shown(row.validFrom),
  Charges: (row) => row.content?.charges.map((charge) => charge.chargeId).join(', ') ?? '',
};
const DRAFT: Columns<PlanDraft> = {
  Plan: (row) => row.planId,
  Revision: (row) => String(row.revision),
  Currency: (row) => row.currency,
  Saved: (row) => shown(row.savedAt),
  Charges: (row) => row.content?.charges.map((charge) => charge.chargeId).join(', ') ?? '',
};
const DIFFERENCES: Columns<PlanDraftDifference> = {
  Customer: (row) => row.customerId,
  Currency: (row) => row.currency,
  Before: (row) => row.before,
  After: (row) => row.after,
  Difference: (row) => row.difference,
  Problem: (row) => row.problem,
};

/** `meterd plan …`: what usage costs. */
export function planCommands(program: Command, session: Session): void {
  const group = program.command('plan').description('what usage costs');
  group
    .command('list')
    .description('all versions of all plans, or of one')
    .option('--plan <plan>', '', '')
    .action(async ({ plan: planId }: { plan: string }) => {
      const plans = await session.client(PlanService);
      await session.list({
        schema: PlanVersionSchema,
        ask: (page) => plans.listPlans({ ...page, planId }),
        rows: (answer) => answer.plans,
        columns: COLUMNS,
      });
    });
  group
    .command('metrics')
    .description('what charges can be on')
    .action(async () => {
      const plans = await session.client(PlanService);
      await session.list({
        schema: MetricSchema,
        ask: (page) => plans.listMetrics(page),
        rows: (answer) => answer.metrics,
        columns: { Metric: (row) => row.metricId, Unit: (row) => row.unit, Description: (row) => row.description },
      });
    });
  draftCommands(group, session);
  publishCommand(group, session);
}

function draftCommands(group: Command, session: Session): void {
  group
    .command('save-draft <plan>')
    .description('save what may become the next version; it prices nothing')
    .requiredOption('--currency <code>')
    .requiredOption('--file <path>', 'a PlanContent in JSON')
    .action(async (planId: string, { currency, file }: { currency: string; file: string }) => {
      const plans = await session.client(PlanService);
      const content = await messageFromFile(PlanContentSchema, file);
      session.show(PlanDraftSchema, (await plans.savePlanDraft({ planId, currency, content })).draft, DRAFT);
    });
  group
    .command('show-draft <plan>')
    .description('the draft; with --json all of it')
    .action(async (planId: string) => {
      const plans = await session.client(PlanService);
      session.show(PlanDraftSchema, (await plans.getPlanDraft({ planId })).draft, DRAFT);
    });
  group
    .command('delete-draft <plan>')
    .description('forget the draft')
    .action(async (planId: string) => {
      await session.confirm(`This deletes the draft of "${planId}"`);
      await (await session.client(PlanService)).deletePlanDraft({ planId });
    });
  group
    .command('preview-draft <plan>')
    .description('what its customers would have paid with the draft')
    .option('--period <month>', 'the last one that is over where left out', '')
    .action(async (planId: string, { period }: { period: string }) => {
      const plans = await session.client(PlanService);
      await session.list({
        schema: PlanDraftDifferenceSchema,
        ask: (page) => plans.previewPlanDraft({ ...page, planId, period }),
        rows: (answer) => answer.differences,
        columns: DIFFERENCES,
      });
    });
}

interface PublishOptions {
  readonly from: Timestamp;
  readonly revision?: number;
  readonly currency?: string;
  readonly file?: string;
}

function publishCommand(group: Command, session: Session): void {
  group
    .command('publish <plan>')
    .description('make the next version: of the draft that was looked at, or of a file')
    .requiredOption('--from <instant>', 'valid from', instant)
    .option('--revision <number>', 'the revision of the draft', whole)
    .option('--currency <code>', 'with --file')
    .option('--file <path>', 'a PlanContent in JSON')
    .action(async (planId: string, { from: validFrom, revision, currency, file }: PublishOptions) => {
      if ((revision === undefined) === (file === undefined)) throw new BadUsage('say either --revision or --file');
      const plans = await session.client(PlanService);
      if (file === undefined) {
        const { plan } = await plans.publishPlanDraft({ planId, revision: revision ?? 0, validFrom });
        session.show(PlanVersionSchema, plan, COLUMNS);
        return;
      }
      const content = await messageFromFile(PlanContentSchema, file);
      const { plan } = await plans.publishPlan({ planId, currency: currency ?? '', content, validFrom });
      session.show(PlanVersionSchema, plan, COLUMNS);
    });
}
