import type { Insertable, Kysely, Transaction } from 'kysely';
import { CallerFault } from '../lib/failure.ts';
import type { Clock } from '../lib/clock.ts';
import { appendAudit } from '../audit/trail.ts';
import { withTransactionLock } from '../storage/postgres/advisory-lock.ts';
import type { ApiKeyRow } from '../storage/postgres/schema-control.ts';
import type { Database } from '../storage/postgres/schema.ts';
import { type Credential, hashSecret, newCredential } from './credential.ts';
import { checkKeyRequest, type Key, type KeyRequest } from './key.ts';

/** A key with the hash of its secret; `undefined` where a certificate stands in for one. */
export interface StoredKey extends Key {
  readonly secretHash: Uint8Array | undefined;
}

/** The keys in Postgres. Every write is audited in its own transaction. */
export class KeyStore {
  readonly #db: Kysely<Database>;
  readonly #clock: Clock;

  constructor(db: Kysely<Database>, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  /**
   * @returns without a credential where a certificate stands in for it
   * @throws CallerFault where the request does not fit its role, or a key that works has its SPIFFE id
   */
  async create(request: KeyRequest, actor: string): Promise<{ key: Key; credential: Credential | undefined }> {
    checkKeyRequest(request);
    const credential = newCredential();
    const key = await this.#db.transaction().execute((transaction) => {
      return insertKey(transaction, { request, credential, actor, at: new Date(this.#clock.nowMs()) });
    });
    return { key, credential: request.spiffeId === undefined ? credential : undefined };
  }

  /**
   * Makes the first admin key where there is no key at all.
   * @param save is given the credential before the key exists, so that a crash in between leaves no key that nobody has
   * @returns undefined where there are keys already
   */
  async createFirst(save: (credential: Credential) => Promise<void>): Promise<Key | undefined> {
    return this.#db.transaction().execute(async (transaction) => {
      await withTransactionLock(transaction, 'meterd.first-key');
      const any = await transaction.selectFrom('api_keys').select('id').limit(1).executeTakeFirst();
      if (any !== undefined) return undefined;
      const credential = newCredential();
      await save(credential);
      const request = {
        name: 'first admin key',
        role: 'admin',
        regions: [],
        customerIds: [],
        backfill: false,
      } as const;
      return insertKey(transaction, { request, credential, actor: 'meterd', at: new Date(this.#clock.nowMs()) });
    });
  }

  /** Ends a key; again is no error. @throws CallerFault not_found */
  async revoke(keyId: string, actor: string): Promise<Key> {
    return this.#db.transaction().execute(async (transaction) => {
      const row = await transaction
        .selectFrom('api_keys')
        .selectAll()
        .where('id', '=', keyId)
        .forUpdate()
        .executeTakeFirst();
      if (row === undefined) throw new CallerFault('not_found', 'key_id', `key_id: there is no key "${keyId}"`);
      if (row.revoked_at !== null) return toKey(row);
      const at = new Date(this.#clock.nowMs());
      await transaction.updateTable('api_keys').set({ revoked_at: at }).where('id', '=', keyId).execute();
      await appendAudit(transaction, { at, actor, action: 'key.revoked', subject: keyId, detail: {} });
      return toKey({ ...row, revoked_at: at });
    });
  }

  /** All keys by id, those behind `after` only. */
  async list(after: string, limit: number): Promise<Key[]> {
    const rows = await this.#db
      .selectFrom('api_keys')
      .selectAll()
      .where('id', '>', after)
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map(toKey);
  }

  /** Every key that works now. */
  async active(): Promise<StoredKey[]> {
    const rows = await this.#db.selectFrom('api_keys').selectAll().where('revoked_at', 'is', null).execute();
    return rows.map(toStoredKey);
  }

  /** The key of the hosts with this SPIFFE id; `undefined` where there is none, or it was revoked. */
  async findHost(spiffeId: string): Promise<StoredKey | undefined> {
    const row = await this.#db
      .selectFrom('api_keys')
      .selectAll()
      .where('spiffe_id', '=', spiffeId)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? undefined : toStoredKey(row);
  }

  /** `undefined` where there is none, or it was revoked. */
  async find(keyId: string): Promise<StoredKey | undefined> {
    const row = await this.#db
      .selectFrom('api_keys')
      .selectAll()
      .where('id', '=', keyId)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? undefined : toStoredKey(row);
  }
}

async function insertKey(
  transaction: Transaction<Database>,
  given: { request: KeyRequest; credential: Credential; actor: string; at: Date },
): Promise<Key> {
  const { request, credential, actor, at } = given;
  const row = {
    id: credential.keyId,
    name: request.name,
    role: request.role,
    secret_hash: request.spiffeId === undefined ? hashSecret(credential.secret) : null,
    spiffe_id: request.spiffeId ?? null,
    regions: [...request.regions],
    customer_ids: [...request.customerIds],
    backfill: request.backfill,
    created_at: at,
    revoked_at: null,
    billaged_counters: request.billagedCounters ?? null,
  };
  await insertUnique(transaction, row);
  const detail = { ...request, billagedCounters: row.billaged_counters, spiffeId: row.spiffe_id };
  await appendAudit(transaction, { at, actor, action: 'key.created', subject: row.id, detail });
  return toKey(row);
}

async function insertUnique(transaction: Transaction<Database>, row: Insertable<Database['api_keys']>): Promise<void> {
  const { numInsertedOrUpdatedRows: inserted } = await transaction
    .insertInto('api_keys')
    .values(row)
    .onConflict((conflict) => conflict.column('spiffe_id').where('revoked_at', 'is', null).doNothing())
    .executeTakeFirstOrThrow();
  if (inserted === 1n) return;
  throw new CallerFault('already_exists', 'spiffe_id', `spiffe_id: a key that works has "${row.spiffe_id}" already`);
}

function toStoredKey(row: ApiKeyRow): StoredKey {
  return { ...toKey(row), secretHash: row.secret_hash ?? undefined };
}

function toKey(row: ApiKeyRow): Key {
  return {
    keyId: row.id,
    name: row.name,
    role: row.role,
    regions: row.regions,
    customerIds: row.customer_ids,
    backfill: row.backfill,
    billagedCounters: row.billaged_counters ?? undefined,
    spiffeId: row.spiffe_id ?? undefined,
    createdAt: row.created_at,
    revokedAt: row.revoked_at ?? undefined,
  };
}
