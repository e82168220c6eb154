import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, expect, it } from 'vitest';
import { clientOf } from '../../../demo/clients.ts';
import { startMeterd, stopMeterd } from '../../../demo/meterd-process.ts';
import { BillingCollectorService } from '../../../gen/billing/v1/collector_pb.ts';
import { SecretService } from '../../../gen/billing/v1/secrets_pb.ts';
import { RetryInfoSchema } from '../../../gen/google/rpc/error_details_pb.ts';
import { openKeys } from '../../../src/access/secrets/open-keys.ts';
import { SecretStore } from '../../../src/access/secrets/secret-store.ts';
import { listAudit } from '../../../src/audit/trail.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { retry } from '../../../src/lib/retry.ts';
import { newClickHouseUrl, postgresForTest } from '../../database.ts';
import { folderForTest, keyFor } from '../../meterd.ts';
import { aWindow } from '../../ingest/a-window.ts';
import { KmsPlugin } from './kms-plugin.ts';

const CANARY = 'canary-Zq81LmXw';
const folder = await folderForTest();
const postgres = await postgresForTest();
const plugin = new KmsPlugin(join(folder, 'kms.sock'));
const logPath = join(folder, 'meterd.log');
const log = await open(logPath, 'w');
// The plugin does not run yet.
const meterd = await startMeterd(
  join(folder, 'data'),
  {
    METERD_LISTEN: '127.0.0.1:0',
    METERD_LOG_LEVEL: 'trace',
    CLICKHOUSE_URL: newClickHouseUrl(),
    DATABASE_URL: postgres.url,
    METERD_SECRET_KMS: `unix://${plugin.socketPath}`,
  },
  log.fd,
);
afterAll(async () => {
  await stopMeterd(meterd);
  await plugin.kill();
  await log.close();
});
const secrets = clientOf(SecretService, meterd.url, meterd.adminKey);

async function expectAway(call: Promise<unknown>): Promise<void> {
  const error = ConnectError.from(await call.catch((reason: unknown) => reason));
  expect(error).toMatchObject({ code: Code.Unavailable, rawMessage: expect.stringContaining('the KMS plugin') });
  expect(error.rawMessage).not.toContain(plugin.socketPath);
  expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
}

/** As a client that comes back. */
async function later<T>(call: () => Promise<T>): Promise<T> {
  return retry(call, { attemptsMax: 500, delayMs: 50, delayMsMax: 50 });
}

/** What the service stored, as whoever acts in its name reads it. */
async function readText(name: string): Promise<string> {
  const place = { filePath: join(folder, 'none'), kmsSocketPath: plugin.socketPath, onKmsCircuit: () => undefined };
  const { keys, close } = await openKeys(postgres.db, place);
  const value = await new SecretStore(postgres.db, keys, systemClock).read({ customerId: '', name });
  await close();
  return value.toString();
}

it('keeps secrets with a KMS that is away at the start, comes, goes, comes back and makes a key', async () => {
  const put = (name: string) => secrets.putSecret({ name, value: Buffer.from(`${CANARY}-${name}`) });
  await expectAway(put('smtp'));
  const host = clientOf(BillingCollectorService, meterd.url, await keyFor(meterd));
  const nowMs = Date.now();
  const window = aWindow({ windowStart: timestampFromMs(nowMs - 60_000), windowEnd: timestampFromMs(nowMs) });
  expect(await host.sendMetricsBatch({ metrics: [window] })).toMatchObject({ accepted: 1 });

  await plugin.start();
  const { secret } = await later(() => put('smtp'));
  expect(secret).toMatchObject({ name: 'smtp', wrappingKeyId: `kms:${plugin.newestId}` });
  await plugin.kill();
  await expectAway(put('hook'));
  await expectAway(secrets.rotateSecrets({}));
  expect((await secrets.listSecrets({})).secrets).toHaveLength(1);

  await plugin.start();
  await later(() => put('hook'));
  await expect(secrets.rotateSecrets({ newKey: true })).rejects.toMatchObject({ code: Code.FailedPrecondition });
  const wrappingKeyId = `kms:${plugin.rotate()}`;
  expect(await secrets.rotateSecrets({})).toMatchObject({ wrappingKeyId, rewrapped: 2n, failed: [] });
  expect(await readText('smtp')).toBe(`${CANARY}-smtp`);

  const logged = await readFile(logPath, 'utf8');
  expect(logged).toContain('"target":"kms"');
  expect(logged).toContain('ENOENT');
  const rows = await postgres.db.selectFrom('secrets').selectAll().execute();
  const stored = rows.flatMap((row) => [row.ciphertext, row.wrapped_key].map((bytes) => bytes.toString('latin1')));
  const trail = (await listAudit(postgres.db, undefined, 1000)).map(({ subject, detail }) => [subject, detail]);
  const given = plugin.seen.map((bytes) => Buffer.from(bytes).toString('latin1'));
  expect(given.length).toBeGreaterThan(3);
  expect(trail).toContainEqual([wrappingKeyId, '{"rewrapped":2,"failed":0}']);
  expect(JSON.stringify([stored, trail, given, logged])).not.toContain(CANARY);
});
