import { expect, it } from 'vitest';
import { touchRecent } from '../../src/backup/recent-touches.ts';
import { clickHouseForTest } from '../database.ts';

const { client } = await clickHouseForTest();
const TAKEN_AT = new Date('2026-05-10T00:30:00Z');
/** As the tables have it: 2^63 - 1 minus the Unix nanoseconds of receipt. */
const precedenceAt = (time: string) => String(2n ** 63n - 1n - BigInt(Date.parse(time)) * 1_000_000n);

it('touches whatever a window or a reading of the last day can have changed, as taking it in does', async () => {
  const insert = (table: string, value: object) => client.insert({ table, values: [value], format: 'JSONEachRow' });
  const recent = precedenceAt('2026-05-09T23:00:00Z');
  const times = { window_start: '2026-05-09 10:59:30', window_end: '2026-05-09 11:00:30' };
  await insert('windows', { customer_id: 'window', vm_id: 'v', ...times, precedence: recent });
  await insert('windows', {
    customer_id: 'old',
    vm_id: 'v',
    ...times,
    precedence: precedenceAt('2026-05-08T00:00:00Z'),
  });
  const reading = { customer_id: 'reading', vm_id: 'v', sampled_at: '2026-05-09 10:30:00', precedence: recent };
  await insert('counter_samples', reading);
  await touchRecent(client, TAKEN_AT);
  const answer = await client.query({
    query: `SELECT customer_id, arraySort(groupUniqArray(formatDateTime(touched_hours.hour, '%H'))) AS hours
      FROM touched_hours GROUP BY customer_id ORDER BY customer_id`,
    format: 'JSONEachRow',
  });
  expect(await answer.json()).toEqual([
    { customer_id: 'reading', hours: ['09', '10', '11', '12'] },
    { customer_id: 'window', hours: ['10', '11'] },
  ]);
});
