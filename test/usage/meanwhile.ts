import type { ClickHouseClient } from '@clickhouse/client';

/** The client, which does something else right before the first statement that has this in its text. */
export function meanwhile(clickhouse: ClickHouseClient, text: string, act: () => Promise<void>): ClickHouseClient {
  let isDone = false;
  return new Proxy(clickhouse, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return async (options: { query?: string }) => {
        if (!isDone && options.query?.includes(text) === true) {
          isDone = true;
          await act();
        }
        return Reflect.apply(value, target, [options]) as unknown;
      };
    },
  });
}
