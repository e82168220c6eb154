import type { ClickHouseClient } from '@clickhouse/client';
import { type QueryParameters, select } from './select.ts';

/** A window that was not taken. Kept for 35 days. */
export interface RefusedWindow {
  readonly id: string;
  readonly receivedAtNanos: bigint;
  /** The key that sent it. */
  readonly credentialId: string;
  readonly instanceId: string;
  /** JSON of `billing.v1.BillingMetrics`, at most 4 KiB; empty where it could not be decoded. */
  readonly metrics: string;
  readonly code: string;
  /** Empty where no single field is wrong. */
  readonly field: string;
  readonly message: string;
}

/** Which ones to list; what is empty narrows nothing. */
export interface RefusedFilter {
  readonly customerId: string;
  readonly credentialId: string;
}

type RefusedRow = Record<'received' | 'row_id' | 'credential_id' | 'instance_id' | 'metrics', string> &
  Record<'code' | 'field' | 'message', string>;

/**
 * Newest first, those behind `after` only.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function listRefusedWindows(
  clickhouse: ClickHouseClient,
  { customerId, credentialId }: RefusedFilter,
  page: { readonly after: Pick<RefusedWindow, 'id' | 'receivedAtNanos'> | undefined; readonly limit: number },
  signal: AbortSignal,
): Promise<RefusedWindow[]> {
  const conditions = ['true'];
  const parameters: QueryParameters = { customer: customerId, credential: credentialId, limit: page.limit };
  if (customerId !== '') conditions.push('customer_id = {customer:String}');
  if (credentialId !== '') conditions.push('credential_id = {credential:String}');
  if (page.after !== undefined) {
    // The first bound says to the table's order what the second one does not.
    conditions.push('received_at <= fromUnixTimestamp64Nano({at:Int64})');
    conditions.push('(received_at, id) < (fromUnixTimestamp64Nano({at:Int64}), {id:UUID})');
    parameters['at'] = String(page.after.receivedAtNanos);
    parameters['id'] = page.after.id;
  }
  const rows = await select<RefusedRow>(
    clickhouse,
    `SELECT toString(reinterpretAsInt64(received_at)) AS received, toString(id) AS row_id, credential_id, instance_id,
       metrics, code, field, message
     FROM refused_windows WHERE ${conditions.join(' AND ')}
     ORDER BY received_at DESC, id DESC LIMIT 1 BY received_at, id LIMIT {limit:UInt32}`,
    parameters,
    signal,
  );
  return rows.map((row) => ({
    id: row.row_id,
    receivedAtNanos: BigInt(row.received),
    credentialId: row.credential_id,
    instanceId: row.instance_id,
    metrics: row.metrics,
    code: row.code,
    field: row.field,
    message: row.message,
  }));
}
