import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { type MeterdProcess, startMeterd, stopMeterd } from '../demo/meterd-process.ts';
import { clientOf } from '../demo/clients.ts';
import { KeyRole, KeyService } from '../gen/billing/v1/keys_pb.ts';
import { CounterTemporality } from '../gen/billing/v1/metrics_pb.ts';
import { createPostgresDatabase, newClickHouseUrl } from './database.ts';

export interface TestMeterd extends MeterdProcess {
  readonly dataDir: string;
}

/** A folder for this test file alone; removed when the file is done. To be called at the top of the file. */
export async function folderForTest(): Promise<string> {
  // What a test starts in this way would stay behind, unseen: nothing is called after a file that is told of inside of a test.
  if (expect.getState().currentTestName !== undefined) throw new Error('not at the top of a test file');
  const folder = await mkdtemp(join(tmpdir(), 'meterd-e2e-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A whole meterd in a process of its own, on the run's engines, with databases of its own; stopped when the file is done. */
export async function meterdForTest(environment: Readonly<Record<string, string>> = {}): Promise<TestMeterd> {
  const dataDir = await folderForTest();
  const meterd = await startMeterd(dataDir, {
    METERD_LISTEN: '127.0.0.1:0',
    CLICKHOUSE_URL: newClickHouseUrl(),
    DATABASE_URL: await createPostgresDatabase(),
    ...environment,
  });
  // One that stayed behind would keep the run from ending.
  afterAll(() => stopMeterd(meterd));
  return { ...meterd, dataDir };
}

/** What a key made for a test may do; by default a host's that may report everything. */
export interface KeyFor {
  readonly role?: KeyRole;
  readonly regions?: string[];
  readonly customerIds?: string[];
  readonly backfill?: boolean;
  readonly billagedCounters?: CounterTemporality;
}

/** Makes a key. @returns the whole credential */
export async function keyFor(meterd: MeterdProcess, scope: KeyFor = {}): Promise<string> {
  const role = scope.role ?? KeyRole.COLLECTOR;
  const regions = scope.regions ?? (role === KeyRole.COLLECTOR ? ['*'] : []);
  const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
  const { secret } = await keys.createKey({
    name: 'test',
    role,
    regions,
    customerIds: scope.customerIds ?? [],
    backfill: scope.backfill ?? false,
    billagedCounters: scope.billagedCounters ?? CounterTemporality.UNSPECIFIED,
  });
  return secret;
}
