import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { rollupJob } from '../../src/jobs/rollup-job.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { clickHouseForTest } from '../database.ts';
import { report, store } from '../usage/stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();

/** A client that notes how long each statement may run. */
function noting(seconds: unknown[]): typeof client {
  return new Proxy(client, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || (name !== 'query' && name !== 'command')) return value;
      return (params: { clickhouse_settings?: { max_execution_time?: number } }) => {
        seconds.push(params.clickhouse_settings?.max_execution_time);
        return Reflect.apply(value, target, [params]) as unknown;
      };
    },
  });
}

it('gives each statement of a rollup the time that a large customer on a slow machine takes', async () => {
  const customerId = randomUUID();
  await store(
    client,
    [0, 1, 7, 61].map((minute) => report(customerId, minute)),
  );
  const seconds: unknown[] = [];
  const settle = (): Promise<void> => Promise.resolve();
  const job = rollupJob({ schedule: '* * * * *', clickhouse: noting(seconds), clock: systemClock, settle });
  expect(await job.run('', signal)).toMatch(/^2 hours rolled up/);
  expect(new Set(seconds)).toEqual(new Set([600]));
});
