import { type Kysely, type Selectable, sql } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { parseDecimalField } from '../decimal-field.ts';
import { compareDecimals, type Decimal, formatDecimal, parseDecimal, stripZeros, ZERO } from '../money.ts';
import { checkInstant } from '../period.ts';
import { type BillingStore, lockPrices } from '../store.ts';

/** A tax of a region from an instant on, until the next rate of the same name. */
export interface TaxRate {
  readonly region: string;
  /** E.g. "VAT". */
  readonly name: string;
  /** 0 to 100; 0 ends the tax. */
  readonly percent: Decimal;
  readonly validFrom: Date;
}

/** As callers give it. */
export type TaxRateText = Omit<TaxRate, 'percent'> & { readonly percent: string };

export interface TaxRateFilter {
  readonly region?: string | undefined;
  /** The last one of the page before. */
  readonly after?: Pick<TaxRate, 'region' | 'name' | 'validFrom'> | undefined;
}

/**
 * The same again answers the same rate.
 * @throws CallerFault invalid_argument; already_exists where another rate holds from the same instant
 */
export async function putTaxRate(store: BillingStore, request: TaxRateText, actor: string): Promise<TaxRate> {
  const { region, name, validFrom } = request;
  parseId('rate.region', region);
  parseId('rate.name', name);
  checkInstant('rate.valid_from', validFrom);
  const bounds = { sign: 'at least 0', max: 100n } as const;
  const percent = stripZeros(parseDecimalField('rate.percent', request.percent, bounds));
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    const at = new Date(store.clock.nowMs());
    const text = formatDecimal(percent);
    const inserted = await transaction
      .insertInto('tax_rates')
      .values({ region, name, valid_from: validFrom, percent: text, put_at: at })
      .onConflict((conflict) => conflict.doNothing())
      .returning('region')
      .executeTakeFirst();
    const rate = { region, name, percent, validFrom };
    if (inserted === undefined) {
      const [existing] = await listTaxRates(
        transaction,
        { region, after: { ...rate, validFrom: justBefore(validFrom) } },
        1,
      );
      if (existing !== undefined && compareDecimals(existing.percent, percent) === 0) return existing;
      const message = `rate.percent: ${name} of "${region}" has another rate from ${validFrom.toISOString()}, not ${text}`;
      throw new CallerFault('already_exists', 'rate.percent', message);
    }
    const detail = { name, percent: text, valid_from: validFrom.toISOString() };
    await appendAudit(transaction, { at, actor, action: 'tax_rate.put', subject: region, detail });
    return rate;
  });
}

/** By region, name, time. */
export async function listTaxRates(
  db: Kysely<Database>,
  { region, after }: TaxRateFilter,
  limit: number,
): Promise<TaxRate[]> {
  let query = db.selectFrom('tax_rates').selectAll().limit(limit);
  query = query.orderBy('region').orderBy('name').orderBy('valid_from');
  if (region !== undefined) query = query.where('region', '=', region);
  if (after !== undefined) {
    query = query.where(
      sql<boolean>`(region, name, valid_from) > (${after.region}, ${after.name}, ${after.validFrom}::timestamptz)`,
    );
  }
  return (await query.execute()).map(toTaxRate);
}

/** Every rate of these regions, by region. */
export async function readTaxRates(
  db: Kysely<Database>,
  regions: readonly string[],
): Promise<ReadonlyMap<string, readonly TaxRate[]>> {
  const rows = await db
    .selectFrom('tax_rates')
    .selectAll()
    .where(sql<boolean>`region = ANY(${regions})`)
    .execute();
  return Map.groupBy(rows.map(toTaxRate), ({ region }) => region);
}

/**
 * The taxes of a region that hold at the last instant before `end`, by name; those that have ended are left out.
 * @param rates of that region, in any order
 * @throws CallerFault failed_precondition where it has no rate yet: missing is not zero
 */
export function taxRatesAt(
  region: string,
  rates: readonly TaxRate[],
  end: Date,
): readonly Pick<TaxRate, 'name' | 'percent'>[] {
  const begun = rates.filter(({ validFrom }) => validFrom < end);
  if (begun.length === 0) {
    const message = `tax_region: "${region}" has no tax rate before ${end.toISOString()}`;
    throw new CallerFault('failed_precondition', 'tax_region', message);
  }
  const newestFirst = begun.toSorted((a, b) => b.validFrom.getTime() - a.validFrom.getTime());
  const byName = Map.groupBy(newestFirst, ({ name }) => name);
  const holding = [...byName.values()].flatMap(([rate]) => (rate === undefined ? [] : [rate]));
  return holding
    .filter(({ percent }) => compareDecimals(percent, ZERO) > 0)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, percent }) => ({ name, percent }));
}

function justBefore(instant: Date): Date {
  return new Date(instant.getTime() - 1);
}

function toTaxRate(row: Selectable<MoneyTables['tax_rates']>): TaxRate {
  const { region, name, valid_from: validFrom } = row;
  return { region, name, percent: parseDecimal(row.percent, 'percent'), validFrom };
}
