import type { Kysely } from 'kysely';
import type { Database } from '../../storage/postgres/schema.ts';
import { contentFromJson } from '../rating/content-json.ts';
import type { PlanContent } from '../rating/plan-content.ts';

/** What a plan charges from an instant on, until its next version. Never changes once published. */
export interface PlanVersion {
  readonly planId: string;
  /** From 1, in the order of `validFrom`. */
  readonly version: number;
  /** ISO 4217; the same in all versions of a plan. */
  readonly currency: string;
  readonly content: PlanContent;
  /** An hour has the prices of the version that is valid at the hour's start. */
  readonly validFrom: Date;
}

/** Every plan version, for a query to narrow and to order. */
export function planVersions(db: Kysely<Database>) {
  return db
    .selectFrom('plan_versions as version')
    .select(['version.plan_id', 'version.version', 'version.currency', 'version.valid_from', 'version.content']);
}

/** A row of `planVersions`. @throws Error where what is stored is no content of a plan */
export function toPlanVersion(
  row: Awaited<ReturnType<ReturnType<typeof planVersions>['execute']>>[number],
): PlanVersion {
  const { plan_id: planId, version, currency, valid_from: validFrom } = row;
  return { planId, version, currency, validFrom, content: contentFromJson(row.content) };
}
