import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';

export interface Patience {
  /** How long a statement may run. */
  readonly secondsMax?: number;
  /** How often ClickHouse says that it is still at it. */
  readonly progressMs?: number;
}

/**
 * ClickHouse for work that no caller waits for, and that something else bounds: what a statement may take, whatever it says itself,
 * is ten minutes. One that fails for its time would fail at each try.
 *
 * ClickHouse says every twenty seconds that it is still at it, since the client takes a connection without a word for broken after
 * its timeout. All of that is in the head of the one answer, of which Node takes 16 KiB: some sixty times.
 */
export function patientClickHouse(clickhouse: ClickHouseClient, patience: Patience = {}): ClickHouseClient {
  const { secondsMax = 600, progressMs = 20_000 } = patience;
  const settings: ClickHouseSettings = {
    max_execution_time: secondsMax,
    send_progress_in_http_headers: 1,
    http_headers_progress_interval_ms: String(progressMs),
  };
  const patiently = <T extends { clickhouse_settings?: object }>(params: T): T => {
    return { ...params, clickhouse_settings: { ...params.clickhouse_settings, ...settings } };
  };
  return new Proxy(clickhouse, {
    get(target, method) {
      switch (method) {
        case 'query':
          return (params: Parameters<ClickHouseClient['query']>[0]) => target.query(patiently(params));
        case 'command':
          return (params: Parameters<ClickHouseClient['command']>[0]) => target.command(patiently(params));
        default:
          return Reflect.get(target, method, target);
      }
    },
  });
}
