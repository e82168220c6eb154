import { randomBytes } from 'node:crypto';
import { freePort } from './free-port.ts';
import type { World } from './world.ts';

const CLUSTER = 'shards';
const USER = 'shard';
/** Where the rows lie, in every ClickHouse alike. */
const SHARD_DATABASE = 'shard';

/**
 * What the two ClickHouses of a cluster have to be started with: a port for each other, a user for each other, and where both
 * are. An insert into a distributed table is answered only once every shard has its rows, as an insert into one table is.
 */
export async function clusterConfigs(): Promise<[string, string]> {
  const password = randomBytes(24).toString('hex');
  const [first, second] = [await freePort(), await freePort()];
  const shards = [first, second].map(
    (port) => `<shard><replica><host>127.0.0.1</host><port>${port}</port>
      <user>${USER}</user><password>${password}</password></replica></shard>`,
  );
  const configOf = (port: number): string => `<clickhouse>
  <tcp_port>${port}</tcp_port>
  <remote_servers><${CLUSTER}>${shards.join('')}</${CLUSTER}></remote_servers>
  <users>
    <${USER}>
      <password>${password}</password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </${USER}>
  </users>
  <profiles><default><distributed_foreground_insert>1</distributed_foreground_insert></default></profiles>
</clickhouse>
`;
  return [configOf(first), configOf(second)];
}

/**
 * Makes the first world's `windows` a table over all of them, by customer, before its meterd starts: meterd finds its tables
 * made and knows of nothing. What is not windows stays in the first.
 */
export async function joinShards(first: World, second: World): Promise<void> {
  for (const world of [first, second]) {
    const clickhouse = await world.clickhouse(SHARD_DATABASE);
    await clickhouse.command({ query: 'SYSTEM START LISTEN TCP' });
  }
  const clickhouse = await first.meterdDatabase();
  await clickhouse.command({ query: 'DROP TABLE windows SYNC' });
  await clickhouse.command({
    query: `CREATE TABLE windows AS ${SHARD_DATABASE}.windows
      ENGINE = Distributed(${CLUSTER}, ${SHARD_DATABASE}, windows, cityHash64(customer_id))`,
  });
}

/** How many rows lie in a world's own shard. */
export async function rowsInShard(world: World): Promise<number> {
  const clickhouse = await world.clickhouse(SHARD_DATABASE);
  const answer = await clickhouse.query({ query: 'SELECT count() FROM windows', format: 'TabSeparated' });
  return Number(await answer.text());
}
