import { expect, it } from 'vitest';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { aWriter, ListedSpool } from './a-writer.ts';

it('waits for nothing where its signal has fired already', async () => {
  const clickhouse = connectClickHouse({ url: 'http://127.0.0.1:1' });
  const { writer } = aWriter(new ListedSpool([Buffer.alloc(1)]), clickhouse);
  await expect(writer.settle(AbortSignal.abort(new Error('meterd stops')))).rejects.toThrow('meterd stops');
  await clickhouse.close();
});

it('waits for no record that is lost', async () => {
  const clickhouse = connectClickHouse({ url: 'http://127.0.0.1:1' });
  const spool = new ListedSpool([Buffer.alloc(1)]);
  // As the spool does it where it finds nothing but places of lost records: it marks them and has nothing to give.
  spool.read = async () => {
    await spool.markApplied(1);
    return undefined;
  };
  const { writer } = aWriter(spool, clickhouse);
  const settled = writer.settle(new AbortController().signal);
  const running = writer.run();
  await settled;
  await writer.stop();
  await running;
  await clickhouse.close();
});
