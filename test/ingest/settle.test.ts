import { expect, it } from 'vitest';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { aWriter, ListedSpool } from './a-writer.ts';

it('waits for nothing where its signal has fired already', async () => {
  const clickhouse = connectClickHouse({ url: 'http://127.0.0.1:1' });
  const { writer } = aWriter(new ListedSpool([Buffer.alloc(1)]), clickhouse);
  await expect(writer.settle(AbortSignal.abort(new Error('meterd stops')))).rejects.toThrow('meterd stops');
  await clickhouse.close();
});
