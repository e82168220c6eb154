import { type Kysely, type Selectable, sql } from 'kysely';
import { Temporal } from 'temporal-polyfill';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { minorUnits } from '../currencies.ts';
import { parseDecimalField } from '../decimal-field.ts';
import type { Exchange } from '../invoice/invoice-input.ts';
import { compareDecimals, type Decimal, formatDecimal, parseDecimal, stripZeros } from '../money.ts';
import { type BillingStore, lockPrices } from '../store.ts';

/** What one unit of a currency is in another, as published for a day. */
export interface ExchangeRate {
  readonly fromCurrency: string;
  readonly toCurrency: string;
  /** E.g. "2026-09-30". */
  readonly day: string;
  readonly rate: Decimal;
  /** Who says so, e.g. "ECB". */
  readonly source: string;
}

/** As callers give it. */
export type ExchangeRateText = Omit<ExchangeRate, 'rate'> & { readonly rate: string };

export interface ExchangeRateFilter {
  readonly fromCurrency?: string | undefined;
  readonly toCurrency?: string | undefined;
  /** The last one of the page before. */
  readonly after?: Pick<ExchangeRate, 'fromCurrency' | 'toCurrency' | 'day'> | undefined;
}

/** The rates that were read for some pairs and days. */
export interface ExchangeRates {
  /**
   * The exchange for a period whose last day this is; `undefined` where both currencies are the same.
   * @throws CallerFault failed_precondition where there is no rate of at most 7 days before: missing is not one to one
   */
  at(fromCurrency: string, toCurrency: string, lastDay: string): Exchange | undefined;
}

const DAY = /^(\d{4})-(\d{2})-(\d{2})$/;
const AGE_DAYS_MAX = 7;

/**
 * The same again answers the same rate.
 * @throws CallerFault invalid_argument; already_exists where that day has another rate or source
 */
export async function putExchangeRate(
  store: BillingStore,
  request: ExchangeRateText,
  actor: string,
): Promise<ExchangeRate> {
  const wanted = parseRate(request);
  const { fromCurrency, toCurrency, day, source } = wanted;
  const rate = formatDecimal(wanted.rate);
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    const at = new Date(store.clock.nowMs());
    const inserted = await transaction
      .insertInto('exchange_rates')
      .values({ from_currency: fromCurrency, to_currency: toCurrency, day, rate, source, put_at: at })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    if (inserted === undefined) return sameRate(await getRate(transaction, wanted), wanted);
    const detail = { day, rate, source };
    const subject = `${fromCurrency}/${toCurrency}`;
    await appendAudit(transaction, { at, actor, action: 'exchange_rate.put', subject, detail });
    return wanted;
  });
}

/** By currencies, then day. */
export async function listExchangeRates(
  db: Kysely<Database>,
  { fromCurrency, toCurrency, after }: ExchangeRateFilter,
  limit: number,
): Promise<ExchangeRate[]> {
  let query = db.selectFrom('exchange_rates').selectAll().limit(limit);
  query = query.orderBy('from_currency').orderBy('to_currency').orderBy('day');
  if (fromCurrency !== undefined) query = query.where('from_currency', '=', fromCurrency);
  if (toCurrency !== undefined) query = query.where('to_currency', '=', toCurrency);
  if (after !== undefined) {
    query = query.where(
      sql<boolean>`(from_currency, to_currency, day) > (${after.fromCurrency}, ${after.toCurrency}, ${after.day}::date)`,
    );
  }
  return (await query.execute()).map(toRate);
}

/** What a period may need whose last day is among `days`. */
export async function readExchangeRates(
  db: Kysely<Database>,
  pairs: readonly (readonly [from: string, to: string])[],
  days: readonly string[],
): Promise<ExchangeRates> {
  const [first, last] = [days[0], days.at(-1)];
  const rows =
    pairs.length === 0 || first === undefined || last === undefined
      ? []
      : await db
          .selectFrom('exchange_rates')
          .selectAll()
          .where(
            sql<boolean>`(from_currency, to_currency) IN (SELECT * FROM unnest(${pairs.map(([from]) => from)}::text[], ${pairs.map(([, to]) => to)}::text[]))`,
          )
          .where('day', '>=', daysBefore(first, AGE_DAYS_MAX))
          .where('day', '<=', last)
          .orderBy('day', 'desc')
          .execute();
  const newestFirst = Map.groupBy(rows.map(toRate), (rate) => pairKey(rate.fromCurrency, rate.toCurrency));
  return {
    at(fromCurrency, toCurrency, lastDay) {
      if (fromCurrency === toCurrency) return undefined;
      const earliest = daysBefore(lastDay, AGE_DAYS_MAX);
      const all = newestFirst.get(pairKey(fromCurrency, toCurrency)) ?? [];
      const found = all.find(({ day }) => earliest <= day && day <= lastDay);
      if (found === undefined) {
        const message = `exchange rate: there is none from ${fromCurrency} to ${toCurrency} dated ${earliest} to ${lastDay}`;
        throw new CallerFault('failed_precondition', 'exchange_rate', message);
      }
      const { rate, day, source } = found;
      return { fromCurrency, rate, day, source };
    },
  };
}

function parseRate(request: ExchangeRateText): ExchangeRate {
  const { fromCurrency, toCurrency, day, source } = request;
  minorUnits(fromCurrency, 'rate.from_currency');
  minorUnits(toCurrency, 'rate.to_currency');
  if (fromCurrency === toCurrency) {
    const message = `rate.to_currency: ${toCurrency} is the currency that it is from`;
    throw new CallerFault('invalid_argument', 'rate.to_currency', message);
  }
  if (!isDay(day)) {
    const message = `rate.day: ${JSON.stringify(day.slice(0, 20))} is no day, e.g. "2026-09-30"`;
    throw new CallerFault('invalid_argument', 'rate.day', message);
  }
  parseId('rate.source', source);
  const rate = stripZeros(parseDecimalField('rate.rate', request.rate, { sign: 'above 0' }));
  return { fromCurrency, toCurrency, day, rate, source };
}

function isDay(text: string): boolean {
  const [, year, month, day] = DAY.exec(text) ?? [];
  if (year === undefined || year < '2000' || year > '2999') return false;
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return date.toISOString().startsWith(text);
}

async function getRate(db: Kysely<Database>, key: ExchangeRate): Promise<ExchangeRate> {
  const row = await db
    .selectFrom('exchange_rates')
    .selectAll()
    .where('from_currency', '=', key.fromCurrency)
    .where('to_currency', '=', key.toCurrency)
    .where('day', '=', key.day)
    .executeTakeFirstOrThrow();
  return toRate(row);
}

function sameRate(existing: ExchangeRate, wanted: ExchangeRate): ExchangeRate {
  if (compareDecimals(existing.rate, wanted.rate) === 0 && existing.source === wanted.source) return existing;
  const { fromCurrency, toCurrency, day, rate, source } = existing;
  const message = `rate.rate: ${fromCurrency} to ${toCurrency} on ${day} is ${formatDecimal(rate)} by "${source}"`;
  throw new CallerFault('already_exists', 'rate.rate', message);
}

function daysBefore(day: string, days: number): string {
  return Temporal.PlainDate.from(day).subtract({ days }).toString();
}

function pairKey(fromCurrency: string, toCurrency: string): string {
  return `${fromCurrency} ${toCurrency}`;
}

function toRate(row: Selectable<MoneyTables['exchange_rates']>): ExchangeRate {
  const { from_currency: fromCurrency, to_currency: toCurrency, day, source } = row;
  return { fromCurrency, toCurrency, day, rate: parseDecimal(row.rate, 'rate'), source };
}
