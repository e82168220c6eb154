import { type Kysely, type Selectable, sql } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { checkInstant } from '../period.ts';
import { contentFromJson, contentToJson } from '../rating/content-json.ts';
import type { PlanContent } from '../rating/plan-content.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import type { PlanContentText } from './parse-content.ts';
import type { PlanVersion } from './plan-version.ts';
import { checkPlan, publishVersion, readContent } from './publish-plan.ts';

/** What may become the next version of a plan. It prices nothing. */
export interface PlanDraft {
  readonly planId: string;
  readonly currency: string;
  readonly content: PlanContent;
  readonly savedAt: Date;
  /** Rises with every save that changes something. */
  readonly revision: number;
}

export interface DraftRequest {
  readonly planId: string;
  readonly currency: string;
  readonly content: PlanContentText;
}

/**
 * Replaces the plan's draft. The same content again answers the same draft.
 * @throws CallerFault invalid_argument
 */
export async function savePlanDraft(store: BillingStore, request: DraftRequest, actor: string): Promise<PlanDraft> {
  const { planId, currency } = request;
  checkPlan(planId, currency);
  const text = contentToJson(await readContent(store.db, request.content));
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    const existing = await findDraft(transaction, planId);
    if (existing?.currency === currency && contentToJson(existing.content) === text) return existing;
    const at = new Date(store.clock.nowMs());
    const saved = await transaction
      .insertInto('plan_drafts')
      .values({ plan_id: planId, currency, content: text, revision: 1, saved_at: at })
      .onConflict((conflict) =>
        conflict
          .column('plan_id')
          .doUpdateSet({ currency, content: text, revision: sql<number>`plan_drafts.revision + 1`, saved_at: at }),
      )
      .returningAll()
      .executeTakeFirstOrThrow();
    const detail = { revision: saved.revision, currency };
    await appendAudit(transaction, { at, actor, action: 'plan.draft_saved', subject: planId, detail });
    return toDraft(saved);
  });
}

/** @throws CallerFault not_found */
export async function getPlanDraft(db: Kysely<Database>, planId: string): Promise<PlanDraft> {
  const draft = await findDraft(db, planId);
  if (draft !== undefined) return draft;
  const message = `plan_id: there is no draft of plan ${JSON.stringify(planId.slice(0, 200))}`;
  throw new CallerFault('not_found', 'plan_id', message);
}

/** Without a draft there is nothing to do. */
export async function deletePlanDraft(store: BillingStore, planId: string, actor: string): Promise<void> {
  await store.db.transaction().execute(async (transaction) => {
    const { numDeletedRows } = await transaction
      .deleteFrom('plan_drafts')
      .where('plan_id', '=', planId)
      .executeTakeFirst();
    if (numDeletedRows === 0n) return;
    const at = new Date(store.clock.nowMs());
    await appendAudit(transaction, { at, actor, action: 'plan.draft_deleted', subject: planId, detail: {} });
  });
}

/**
 * Makes the draft the plan's next version. The draft stays, so that the same request again answers the same version.
 * @param revision the one that was looked at
 * @throws CallerFault not_found; failed_precondition where the draft is of another revision, and as `publishPlan`
 */
export async function publishPlanDraft(
  store: BillingStore,
  request: { readonly planId: string; readonly revision: number; readonly validFrom: Date },
  actor: string,
): Promise<PlanVersion> {
  const { planId, revision, validFrom } = request;
  checkInstant('valid_from', validFrom);
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    const draft = await getPlanDraft(transaction, planId);
    if (draft.revision !== revision) {
      const message = `revision: the draft of plan "${planId}" is at revision ${draft.revision}, not ${revision}`;
      throw new CallerFault('failed_precondition', 'revision', message);
    }
    const { currency, content } = draft;
    const written = { at: new Date(store.clock.nowMs()), actor };
    return publishVersion(transaction, { planId, currency, content, validFrom }, written);
  });
}

async function findDraft(db: Kysely<Database>, planId: string): Promise<PlanDraft | undefined> {
  const row = await db.selectFrom('plan_drafts').selectAll().where('plan_id', '=', planId).executeTakeFirst();
  return row === undefined ? undefined : toDraft(row);
}

function toDraft(row: Selectable<MoneyTables['plan_drafts']>): PlanDraft {
  const { plan_id: planId, currency, revision, saved_at: savedAt } = row;
  return { planId, currency, content: contentFromJson(row.content), savedAt, revision };
}
