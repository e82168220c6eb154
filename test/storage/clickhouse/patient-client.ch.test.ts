import { expect, it, onTestFinished } from 'vitest';
import { connectClickHouse } from '../../../src/storage/clickhouse/client.ts';
import { patientClickHouse } from '../../../src/storage/clickhouse/patient-client.ts';
import { clickHouseForTest } from '../../database.ts';

const { url } = await clickHouseForTest();

it('waits for a statement that takes longer than the client waits for a word', async () => {
  const hasty = connectClickHouse({ url, requestTimeoutMs: 1_000 });
  onTestFinished(() => hasty.close());
  const patient = patientClickHouse(hasty, { secondsMax: 60, progressMs: 100 });
  const clickhouse_settings = { max_execution_time: 1, max_block_size: '1' };
  const slow = { query: 'SELECT sum(sleepEachRow(0.5)) AS slept FROM numbers(5)', clickhouse_settings };
  await expect(hasty.query(slow)).rejects.toThrow(/Timeout/);
  expect((await (await patient.query(slow)).json<{ slept: string }>()).data).toEqual([{ slept: '0' }]);
  await expect(hasty.command(slow)).rejects.toThrow(/Timeout/);
  await expect(patient.command(slow)).resolves.toBeDefined();
});

it('waits no longer than it may', async () => {
  const hasty = connectClickHouse({ url });
  onTestFinished(() => hasty.close());
  const patient = patientClickHouse(hasty, { secondsMax: 1, progressMs: 100 });
  const clickhouse_settings = { max_block_size: '1' };
  const slow = { query: 'SELECT sum(sleepEachRow(0.5)) FROM numbers(20)', clickhouse_settings };
  await expect(patient.query(slow)).rejects.toThrow('Timeout exceeded');
});
