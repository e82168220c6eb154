import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { PlanService, type Subscription, SubscriptionSchema } from '../../gen/billing/v1/plans_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { instant, shown } from './values.ts';

const COLUMNS: Columns<Subscription> = {
  Customer: (row) => row.customerId,
  Plan: (row) => row.planId || '(none)',
  From: (row) => shown(row.startsAt),
};

/** `meterd subscription …`: who has which plan from when. */
export function subscriptionCommands(program: Command, session: Session): void {
  const group = program.command('subscription').description('who has which plan from when');
  group
    .command('start <customer> <plan>')
    .description('give a customer a plan, until the next subscription starts')
    .requiredOption('--from <instant>', 'on a whole second', instant)
    .action(async (customerId: string, planId: string, { from: startsAt }: { from: Timestamp }) => {
      const plans = await session.client(PlanService);
      const { subscription } = await plans.subscribe({ customerId, planId, startsAt });
      session.show(SubscriptionSchema, subscription, COLUMNS);
    });
  group
    .command('end <customer>')
    .description('leave a customer without a plan')
    .requiredOption('--at <instant>', 'on a whole second', instant)
    .action(async (customerId: string, { at: endsAt }: { at: Timestamp }) => {
      const plans = await session.client(PlanService);
      const { subscription } = await plans.endSubscription({ customerId, endsAt });
      session.show(SubscriptionSchema, subscription, COLUMNS);
    });
  group
    .command('list')
    .description('all subscriptions, or those of a customer or plan')
    .option('--customer <customer>', '', '')
    .option('--plan <plan>', '', '')
    .action(async ({ customer: customerId, plan: planId }: { customer: string; plan: string }) => {
      const plans = await session.client(PlanService);
      await session.list({
        schema: SubscriptionSchema,
        ask: (page) => plans.listSubscriptions({ ...page, customerId, planId }),
        rows: (answer) => answer.subscriptions,
        columns: COLUMNS,
      });
    });
}
