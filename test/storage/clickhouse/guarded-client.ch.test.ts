import { expect, it } from 'vitest';
import type { CircuitChange } from '../../../src/lib/circuit-breaker.ts';
import { customerReads } from '../../../src/storage/clickhouse/customer-reads.ts';
import { guardedClickHouse } from '../../../src/storage/clickhouse/guarded-client.ts';
import { engineBreaker, isEngineAway } from '../../../src/storage/engine-away.ts';
import { clickHouseForTest } from '../../database.ts';
import { aProxy, type Treatment } from '../../ingest/clickhouse-proxy.ts';

const { url } = await clickHouseForTest();

/** A guarded ClickHouse behind a proxy, with the statements that reached the proxy and what the circuit did. */
async function guarded(seen: { treatment: Treatment }) {
  const reached: string[] = [];
  const circuits: CircuitChange['circuit']['name'][] = [];
  const client = await aProxy({
    url,
    treat: ({ query }) => {
      reached.push(query);
      return seen.treatment;
    },
  });
  const clickhouse = guardedClickHouse(
    client,
    engineBreaker('ClickHouse', ({ circuit }) => void circuits.push(circuit.name)),
  );
  const ask = async (statement = 'SELECT 1 AS one', signal?: AbortSignal): Promise<unknown> => {
    const result = await clickhouse.query({ query: statement, ...(signal && { abort_signal: signal }) });
    return (await result.json<unknown>()).data;
  };
  return { clickhouse, reached, circuits, ask };
}

const thrown = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'nothing',
    (reason: unknown) => reason,
  );

it('asks no ClickHouse that is away, for customers neither, and goes on when it is back', async () => {
  const seen = { treatment: 'cut off' as Treatment };
  const { clickhouse, reached, circuits, ask } = await guarded(seen);
  for (const _ of [1, 2, 3]) expect(isEngineAway(await thrown(ask()))).toBe(true);
  expect(circuits).toEqual(['open']);
  reached.length = 0;
  const away = { kind: 'unavailable', message: expect.stringContaining('ClickHouse') };
  expect(await thrown(ask())).toMatchObject(away);
  const ofCustomer = customerReads(clickhouse, 'customer');
  expect(await thrown(ofCustomer.query({ query: 'SELECT 1' }))).toMatchObject(away);
  expect(await thrown(clickhouse.command({ query: 'SELECT 1' }))).toMatchObject(away);
  expect(await thrown(clickhouse.insert({ table: 'touched_hours', values: [{}] }))).toMatchObject(away);
  expect(reached).toEqual([]);
  seen.treatment = 'pass';
  await expect.poll(() => thrown(ask()), { timeout: 20_000 }).toBe('nothing');
  expect(circuits.at(-1)).toBe('closed');
});

it('takes no error of a statement, and no caller that left, for a ClickHouse that is away', async () => {
  const seen = { treatment: 'pass' as Treatment };
  const { circuits, ask } = await guarded(seen);
  for (const _ of [1, 2, 3]) await expect(ask('SELECT nothing_like_it')).rejects.toThrow('nothing_like_it');
  seen.treatment = 'hang';
  for (const _ of [1, 2, 3]) expect(await thrown(ask('SELECT 1', AbortSignal.timeout(1)))).not.toBe('nothing');
  seen.treatment = 'pass';
  expect(await ask()).toEqual([{ one: 1 }]);
  expect(circuits).toEqual([]);
});
