import { randomUUID } from 'node:crypto';
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { type QueryParameters, SETTINGS } from './select.ts';

/**
 * Statements that share temporary tables. A session that is left in the middle ends after a minute, and its tables with it.
 * `CLICKHOUSE_URL` must lead all of its requests to the same server.
 */
export class Session {
  readonly id = randomUUID();
  readonly #clickhouse: ClickHouseClient;
  readonly #parameters: QueryParameters;
  readonly #signal: AbortSignal;

  /** @param parameters of every statement */
  constructor(clickhouse: ClickHouseClient, parameters: QueryParameters, signal: AbortSignal) {
    this.#clickhouse = clickhouse;
    this.#parameters = parameters;
    this.#signal = signal;
  }

  /** @returns how many rows were written @throws what ClickHouse reports; the signal's reason */
  async run(query: string, settings: ClickHouseSettings = {}): Promise<number> {
    const result = await this.#clickhouse.command({
      query,
      query_params: this.#parameters,
      session_id: this.id,
      abort_signal: this.#signal,
      clickhouse_settings: { ...SETTINGS, ...settings },
    });
    return Number(result.summary?.written_rows ?? 0);
  }
}
