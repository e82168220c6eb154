import { type Kysely, sql } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { Database } from '../../storage/postgres/schema.ts';
import { contentFromJson } from '../rating/content-json.ts';
import type { PlanContent } from '../rating/plan-content.ts';
import type { PlanVersion } from './plan-version.ts';

/** By their text: whatever database it comes from, the same text is the same content. */
const contents = new LRUCache<string, PlanContent>({ max: 1_000 });

/** Every version of these plans. What was parsed before is not parsed again: one run reads the same plans page by page. */
export async function readVersions(db: Kysely<Database>, planIds: readonly string[]): Promise<PlanVersion[]> {
  if (planIds.length === 0) return [];
  const rows = await db
    .selectFrom('plan_versions')
    .select(['plan_id as planId', 'version', 'currency', 'valid_from as validFrom'])
    .select(sql<string>`content::text`.as('content'))
    .where(sql<boolean>`plan_id = ANY(${planIds})`)
    .execute();
  return rows.map(({ content, ...row }) => ({ ...row, content: parsed(content) }));
}

function parsed(text: string): PlanContent {
  const known = contents.get(text);
  if (known !== undefined) return known;
  const content = contentFromJson(JSON.parse(text));
  contents.set(text, content);
  return content;
}
