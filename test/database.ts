import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { Client } from 'pg';
import { afterAll, inject } from 'vitest';
import { connectClickHouse } from '../src/storage/clickhouse/client.ts';
import { migrateClickHouse } from '../src/storage/clickhouse/migrate.ts';
import { connectPostgres, type Postgres } from '../src/storage/postgres/client.ts';
import { migratePostgres } from '../src/storage/postgres/migrate.ts';

export interface TestClickHouse {
  readonly client: ClickHouseClient;
  /** Names the database too. */
  readonly url: string;
}

export interface TestPostgres extends Postgres {
  readonly url: string;
}

/**
 * A ClickHouse database for this test file alone, migrated; dropped when the file is done. To be called at the top of the file:
 * `const { client } = await clickHouseForTest();`
 */
export async function clickHouseForTest(): Promise<TestClickHouse> {
  const url = newClickHouseUrl();
  // A database of its own needs no lock.
  await migrateClickHouse({ url, withLock: (work) => work() });
  const client = connectClickHouse({ url });
  afterAll(async () => {
    await client.command({ query: `DROP DATABASE ${new URL(url).pathname.slice(1)} SYNC` });
    await client.close();
  });
  return { client, url };
}

/**
 * A Postgres database for this test file alone, migrated; dropped when the file is done. To be called at the top of the file:
 * `const { db } = await postgresForTest();`
 */
export async function postgresForTest(): Promise<TestPostgres> {
  const url = await createPostgresDatabase();
  await migratePostgres(url);
  const postgres = connectPostgres(url);
  afterAll(async () => {
    await postgres.close();
    await asAdmin(`DROP DATABASE ${new URL(url).pathname.slice(1)} WITH (FORCE)`);
  });
  return { ...postgres, url };
}

/** The URL of a ClickHouse database that is not there yet. */
export function newClickHouseUrl(): string {
  const url = new URL(inject('clickHouseUrl'));
  url.pathname = newName();
  return url.href;
}

/** An empty Postgres database, which goes with the run. @returns its URL */
export async function createPostgresDatabase(): Promise<string> {
  const url = new URL(inject('postgresUrl'));
  url.pathname = newName();
  await asAdmin(`CREATE DATABASE ${url.pathname.slice(1)}`);
  return url.href;
}

async function asAdmin(statement: string): Promise<void> {
  const client = new Client({ connectionString: inject('postgresUrl') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function newName(): string {
  return `test_${randomUUID().replaceAll('-', '')}`;
}
