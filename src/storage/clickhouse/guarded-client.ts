import type { ClickHouseClient } from '@clickhouse/client';
import type { CircuitBreaker } from '../../lib/circuit-breaker.ts';

type Given<Method extends 'query' | 'command' | 'insert'> = Parameters<ClickHouseClient[Method]>[0];

/**
 * ClickHouse, as long as it answers: where it does not, statements fail at once and not each after its own timeout. What stores
 * windows does not go this way: it has a breaker of its own, which also paces what waits in the spool.
 */
export function guardedClickHouse(clickhouse: ClickHouseClient, breaker: CircuitBreaker): ClickHouseClient {
  return new Proxy(clickhouse, {
    get(target, method) {
      switch (method) {
        case 'query':
          return (params: Given<'query'>) => breaker.run(() => target.query(params), params.abort_signal);
        case 'command':
          return (params: Given<'command'>) => breaker.run(() => target.command(params), params.abort_signal);
        case 'insert':
          return (params: Given<'insert'>) => breaker.run(() => target.insert(params), params.abort_signal);
        default:
          return Reflect.get(target, method, target);
      }
    },
  });
}
