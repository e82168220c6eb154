import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { appendAudit } from '../../audit/trail.ts';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { getActiveCustomer } from '../customers.ts';
import { parseDecimalField } from '../decimal-field.ts';
import { once } from '../idempotency.ts';
import { parseDecimal } from '../money.ts';
import { checkInstant } from '../period.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import type { BillingPeriod, ManualLine } from './invoice-input.ts';
import { isUuid } from './read-invoices.ts';

/** A line that somebody put on an invoice by hand. Decimals are text. */
export interface StoredManualLine {
  /** A UUID. */
  readonly manualLineId: string;
  readonly customerId: string;
  readonly description: string;
  /** May be below 0. */
  readonly quantity: string;
  readonly unit: string;
  readonly unitPrice: string;
  /** Whose period it belongs to. */
  readonly at: Date;
  readonly taxable: boolean;
  readonly addedBy: string;
  readonly addedAt: Date;
}

export interface ManualLineRequest extends Omit<StoredManualLine, 'manualLineId' | 'addedBy' | 'addedAt'> {
  readonly idempotencyKey: string;
}

type Db = Kysely<Database> | Transaction<Database>;

const TEXT_BYTES_MAX = 400;

/**
 * Puts a line on the invoice of the period that its instant lies in, or on the next one that is not final.
 * @throws CallerFault invalid_argument; not_found where the customer is not registered; failed_precondition where it was erased
 */
export async function addManualLine(
  store: BillingStore,
  request: ManualLineRequest,
  actor: string,
): Promise<StoredManualLine> {
  const { idempotencyKey, ...line } = request;
  parseId('line.description', line.description, TEXT_BYTES_MAX);
  if (line.unit !== '') parseId('line.unit', line.unit, TEXT_BYTES_MAX);
  parseDecimalField('line.quantity', line.quantity);
  parseDecimalField('line.unit_price', line.unitPrice);
  checkInstant('line.at', line.at);
  return store.db.transaction().execute(async (transaction) => {
    // Nobody begins to erase the customer meanwhile, who must have no line waiting then.
    await lockPrices(transaction);
    await getActiveCustomer(transaction, line.customerId);
    const addedAt = new Date(store.clock.nowMs());
    const make = async (manualLineId: string): Promise<StoredManualLine> => {
      const added = { ...line, manualLineId, addedBy: actor, addedAt };
      await transaction.insertInto('manual_lines').values(toRow(added)).execute();
      const { customerId, description, quantity, unitPrice } = added;
      const detail = {
        customer_id: customerId,
        description,
        quantity,
        unit_price: unitPrice,
        at: line.at.toISOString(),
      };
      await appendAudit(transaction, {
        at: addedAt,
        actor,
        action: 'manual_line.added',
        subject: manualLineId,
        detail,
      });
      return added;
    };
    const keyed = { operation: 'manual line', key: idempotencyKey, input: line, at: addedAt };
    return once(transaction, keyed, make, (id) => getManualLine(transaction, id));
  });
}

/**
 * Removes a line that is on no final invoice; a draft that has it is withdrawn, and made anew by the next run.
 * @throws CallerFault not_found; failed_precondition where it is on a final invoice, or was on one that is void
 */
export async function removeManualLine(store: BillingStore, manualLineId: string, actor: string): Promise<void> {
  await store.db.transaction().execute(async (transaction) => {
    // No invoice becomes final with it meanwhile.
    await lockPrices(transaction);
    const line = await getManualLine(transaction, manualLineId);
    const invoices = await transaction
      .selectFrom('invoice_lines')
      .innerJoin('invoices', 'invoices.id', 'invoice_id')
      .where('manual_line_id', '=', manualLineId)
      .select(['invoices.id', 'invoices.number', 'invoices.state'])
      .execute();
    const kept = invoices.find((invoice) => invoice.state !== 'draft');
    if (kept !== undefined) {
      const message = `manual_line_id: the line is on invoice ${kept.number}, which is ${kept.state}; add one that takes it back`;
      throw new CallerFault('failed_precondition', 'manual_line_id', message);
    }
    const drafts = invoices.map((invoice) => invoice.id);
    await sql`DELETE FROM invoices WHERE id = ANY(${drafts}::uuid[])`.execute(transaction);
    await transaction.deleteFrom('manual_lines').where('id', '=', manualLineId).execute();
    const detail = { customer_id: line.customerId, description: line.description };
    const at = new Date(store.clock.nowMs());
    await appendAudit(transaction, { at, actor, action: 'manual_line.removed', subject: manualLineId, detail });
  });
}

/** Those that are on no final invoice, by customer, then time; behind `after` where it is given. */
export async function listManualLines(
  db: Kysely<Database>,
  customerId: string | undefined,
  after: Pick<StoredManualLine, 'customerId' | 'at' | 'manualLineId'> | undefined,
  limit: number,
): Promise<StoredManualLine[]> {
  let query = waiting(db).orderBy('line.customer_id').orderBy('line.at').orderBy('line.id').limit(limit);
  if (customerId !== undefined) query = query.where('line.customer_id', '=', customerId);
  if (after !== undefined) {
    const key = sql`(${after.customerId}, ${after.at}::timestamptz, ${after.manualLineId}::uuid)`;
    query = query.where(sql<boolean>`(line.customer_id, line.at, line.id) > ${key}`);
  }
  return (await query.execute()).map(toStored);
}

/**
 * What waits for the invoices of these periods, by customer. A line waits for the first period from its own on that is not
 * settled: no line is on two of them.
 * @param without an invoice that counts as void: its lines wait
 */
export async function manualLinesFor(
  db: Db,
  periods: readonly { readonly customerId: string; readonly period: BillingPeriod }[],
  without: string | undefined,
): Promise<Map<string, ManualLine[]>> {
  const asked = periods.map(({ customerId, period }) => ({
    customer_id: customerId,
    starts: period.start,
    ends: period.end,
  }));
  const rows = await waiting(db, without)
    .innerJoin(
      sql<{
        customer_id: string;
        starts: Date;
        ends: Date;
      }>`json_to_recordset(${JSON.stringify(asked)}::json)`.as<'asked'>(
        sql`asked (customer_id text, starts timestamptz, ends timestamptz)`,
      ),
      (join) => join.onRef('asked.customer_id', '=', 'line.customer_id').onRef('line.at', '<', 'asked.ends'),
    )
    .where(
      sql<boolean>`NOT EXISTS (SELECT FROM billing_periods AS earlier WHERE earlier.customer_id = line.customer_id
        AND NOT earlier.settled AND earlier.period_start < asked.starts AND earlier.period_end > line.at)`,
    )
    .orderBy('line.at')
    .orderBy('line.id')
    .execute();
  const byCustomer = Map.groupBy(rows, (row) => row.customer_id);
  return new Map([...byCustomer].map(([customerId, lines]) => [customerId, lines.map(toInput)]));
}

function waiting(db: Db, without?: string) {
  const notThat = without === undefined ? sql`true` : sql`invoices.id <> ${without}`;
  return db
    .selectFrom('manual_lines as line')
    .selectAll('line')
    .where(
      sql<boolean>`NOT EXISTS (SELECT FROM invoice_lines JOIN invoices ON invoices.id = invoice_id
        WHERE manual_line_id = line.id AND state IN ('final', 'paid') AND ${notThat})`,
    );
}

async function getManualLine(db: Db, manualLineId: string): Promise<StoredManualLine> {
  const row = isUuid(manualLineId)
    ? await db.selectFrom('manual_lines').selectAll().where('id', '=', manualLineId).executeTakeFirst()
    : undefined;
  if (row === undefined) {
    const shown = JSON.stringify(manualLineId.slice(0, 100));
    throw new CallerFault('not_found', 'manual_line_id', `manual_line_id: there is no manual line ${shown}`);
  }
  return toStored(row);
}

type ManualLineRow = Selectable<MoneyTables['manual_lines']>;

function toRow(line: StoredManualLine): ManualLineRow {
  return {
    id: line.manualLineId,
    customer_id: line.customerId,
    description: line.description,
    quantity: line.quantity,
    unit: line.unit,
    unit_price: line.unitPrice,
    at: line.at,
    taxable: line.taxable,
    added_by: line.addedBy,
    added_at: line.addedAt,
  };
}

function toStored(row: ManualLineRow): StoredManualLine {
  return {
    manualLineId: row.id,
    customerId: row.customer_id,
    description: row.description,
    quantity: row.quantity,
    unit: row.unit,
    unitPrice: row.unit_price,
    at: row.at,
    taxable: row.taxable,
    addedBy: row.added_by,
    addedAt: row.added_at,
  };
}

function toInput(row: ManualLineRow): ManualLine {
  const { manualLineId, description, quantity, unit, unitPrice, at, taxable } = toStored(row);
  const numbers = { quantity: parseDecimal(quantity, 'quantity'), unitPrice: parseDecimal(unitPrice, 'unit_price') };
  return { manualLineId, description, unit, at, taxable, ...numbers };
}
