import { type Kysely, type Selectable, sql } from 'kysely';
import { z } from 'zod';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { parseDecimalField } from '../decimal-field.ts';
import { metricCodec } from '../rating/content-json.ts';
import { METRICS } from '../rating/metrics.ts';
import type { Metric, PlanContent } from '../rating/plan-content.ts';
import type { BillingStore } from '../store.ts';
import { checkCount, invalid } from './parse-discount.ts';

/** A metric as callers give it. */
export interface MetricText {
  readonly id: string;
  readonly description: string;
  readonly unit: string;
  readonly terms: readonly { readonly quantity: Metric['terms'][number]['quantity']; readonly weight: bigint }[];
  /** A whole number above 0 as text. */
  readonly perUnit: string;
}

const BUILT_IN: ReadonlyMap<string, Metric> = new Map(METRICS.map((metric) => [metric.id, metric]));
const TEXT_BYTES_MAX = 200;
const TERMS_MAX = 20;
const WEIGHT_MAX = 1_000_000_000_000n;
const PER_UNIT_MAX = 10n ** 30n;

/**
 * Defines a metric over what is measured. The same again answers the same metric.
 * @throws CallerFault invalid_argument; already_exists where the id has another definition
 */
export async function defineMetric(store: BillingStore, text: MetricText, actor: string): Promise<Metric> {
  const wanted = parseMetric(text);
  return store.db.transaction().execute(async (transaction) => {
    const at = new Date(store.clock.nowMs());
    const { terms } = z.encode(metricCodec, wanted);
    const { id, description, unit, perUnit } = wanted;
    const inserted = await transaction
      .insertInto('metrics')
      .values({ id, description, unit, terms: JSON.stringify(terms), per_unit: perUnit.toString(), defined_at: at })
      .onConflict((conflict) => conflict.doNothing())
      .returning('id')
      .executeTakeFirst();
    if (inserted === undefined) {
      const [existing] = await readMetrics(transaction, [id]);
      if (existing !== undefined && keyOf(existing) === keyOf(wanted)) return existing;
      throw new CallerFault(
        'already_exists',
        'metric.metric_id',
        `metric.metric_id: "${id}" is defined in another way`,
      );
    }
    const detail = {
      description,
      unit,
      per_unit: perUnit.toString(),
      terms: terms.map((term) => `${term.weight} ${term.quantity}`),
    };
    await appendAudit(transaction, { at, actor, action: 'metric.defined', subject: id, detail });
    return wanted;
  });
}

/** Own metrics by id, those behind `after` only. */
export async function listOwnMetrics(db: Kysely<Database>, after: string, limit: number): Promise<Metric[]> {
  const rows = await db.selectFrom('metrics').selectAll().where('id', '>', after).orderBy('id').limit(limit).execute();
  return rows.map(toMetric);
}

/** The metrics that the contents' charges and allowances name. @throws Error where one is not there */
export async function metricsOf(
  db: Kysely<Database>,
  contents: readonly PlanContent[],
): Promise<ReadonlyMap<string, Metric>> {
  const ids = new Set(contents.flatMap(({ charges }) => charges.map((charge) => charge.metric)));
  const own = await readMetrics(
    db,
    [...ids].filter((id) => id !== '' && !BUILT_IN.has(id)),
  );
  return new Map([...METRICS, ...own].filter(({ id }) => ids.has(id)).map((metric) => [metric.id, metric]));
}

/** Which of these ids name a metric. */
export async function knownMetrics(db: Kysely<Database>, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const own = await readMetrics(
    db,
    ids.filter((id) => !BUILT_IN.has(id)),
  );
  return new Set([...BUILT_IN.keys(), ...own.map((metric) => metric.id)]);
}

async function readMetrics(db: Kysely<Database>, ids: readonly string[]): Promise<Metric[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom('metrics')
    .selectAll()
    .where(sql<boolean>`id = ANY(${ids})`)
    .execute();
  return rows.map(toMetric);
}

function parseMetric({ id, description, unit, terms, perUnit }: MetricText): Metric {
  parseId('metric.metric_id', id);
  if (BUILT_IN.has(id)) {
    throw new CallerFault('already_exists', 'metric.metric_id', `metric.metric_id: "${id}" comes with meterd`);
  }
  parseId('metric.description', description, TEXT_BYTES_MAX);
  parseId('metric.unit', unit, TEXT_BYTES_MAX);
  if (terms.length === 0) throw invalid('metric.terms', 'there are none');
  checkCount('metric.terms', terms, TERMS_MAX);
  for (const [index, { weight }] of terms.entries()) {
    if (weight >= 1n && weight <= WEIGHT_MAX) continue;
    throw invalid(`metric.terms[${index}].weight`, `${weight} is not from 1 to ${WEIGHT_MAX}`);
  }
  const bounds = { sign: 'above 0', isWhole: true, max: PER_UNIT_MAX } as const;
  const { units } = parseDecimalField('metric.per_unit', perUnit, bounds);
  return { id, description, unit, terms: [...terms], perUnit: units };
}

function toMetric(row: Selectable<MoneyTables['metrics']>): Metric {
  const { id, description, unit, terms } = row;
  return z.parse(metricCodec, { id, description, unit, terms, perUnit: row.per_unit });
}

function keyOf(metric: Metric): string {
  return JSON.stringify(z.encode(metricCodec, metric));
}
