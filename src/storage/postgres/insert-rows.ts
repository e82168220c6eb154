import { type Insertable, sql, type Transaction } from 'kysely';
import type { Database } from './schema.ts';

type Cell = string | number | bigint | boolean | null | undefined | Date | Buffer | object;

/** A value for every column that may be written, those with a default too; JSON as plain data, not as text. */
export type NewRow<Table extends keyof Database> = Readonly<Record<keyof Insertable<Database[Table]>, Cell>>;

/**
 * Inserts rows in one statement with one parameter, however many there are: a statement of one parameter for each cell takes
 * 65,535 at most, and longer to prepare than to run. Without rows it does nothing.
 * @param options skipExisting: rows whose key is there already are left out
 */
export async function insertRows<Table extends keyof Database>(
  transaction: Transaction<Database>,
  table: Table,
  rows: readonly NewRow<Table>[],
  options: { readonly skipExisting?: boolean } = {},
): Promise<void> {
  const [first] = rows;
  if (first === undefined) return;
  const columns = sql.join(Object.keys(first).map((column) => sql.ref(column)));
  const data = JSON.stringify(rows.map(plainRow));
  const onConflict = options.skipExisting === true ? sql`ON CONFLICT DO NOTHING` : sql``;
  const target = sql.table(table);
  await sql`INSERT INTO ${target} (${columns})
    SELECT ${columns} FROM json_populate_recordset(NULL::${target}, ${data}::json) ${onConflict}`.execute(transaction);
}

/** Each value as the text that Postgres reads it from. */
function plainRow(row: Readonly<Record<string, Cell>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([column, cell]) => {
      if (Buffer.isBuffer(cell)) return [column, `\\x${cell.toString('hex')}`];
      return [column, typeof cell === 'bigint' ? cell.toString() : (cell ?? null)];
    }),
  );
}
