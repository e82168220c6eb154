import { expect, it, onTestFinished } from 'vitest';
import { connectClickHouse } from '../../../src/storage/clickhouse/client.ts';
import { clickHouseForTest } from '../../database.ts';

const { url } = await clickHouseForTest();

it('lets ClickHouse say that a statement took too long, before it takes it for away', async () => {
  const hasty = connectClickHouse({ url, requestTimeoutMs: 6_000 });
  onTestFinished(() => hasty.close());
  const slow = {
    query: 'SELECT sum(sleepEachRow(0.5)) FROM numbers(60)',
    clickhouse_settings: { max_block_size: '1' },
  };
  await expect(hasty.query(slow)).rejects.toThrow(/TIMEOUT_EXCEEDED|Timeout exceeded/);
  await expect(hasty.command(slow)).rejects.toThrow(/TIMEOUT_EXCEEDED|Timeout exceeded/);
});
