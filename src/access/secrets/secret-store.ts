import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { appendAudit } from '../../audit/trail.ts';
import type { Clock } from '../../lib/clock.ts';
import { CallerFault } from '../../lib/failure.ts';
import { parseCustomerId, parseId } from '../../lib/identifier.ts';
import { withTransactionLock } from '../../storage/postgres/advisory-lock.ts';
import type { SecretsTable } from '../../storage/postgres/schema-control.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { KMS_ID_PREFIX, type KeyProvider } from './key-provider.ts';
import { type Rotation, SecretRotation } from './rotate-secrets.ts';
import { seal, type SealedSecret, type SecretId, unseal } from './sealed-secret.ts';

/** A secret without its value. */
export interface Secret extends SecretId {
  readonly wrappingKeyId: string;
  readonly putAt: Date;
  /** The id of the key that put it. */
  readonly putBy: string;
}

const VALUE_BYTES_MAX = 65_536;
const SECRETS_OF_CUSTOMER_MAX = 1000;

/**
 * Secrets that meterd needs to act elsewhere, encrypted at rest. Every write is audited in its own transaction, never with a
 * value. Readers wait for no lock: a row has its data key and the name of the key that wraps it, both old or both new.
 */
export class SecretStore {
  readonly #db: Kysely<Database>;
  readonly #keys: KeyProvider;
  readonly #clock: Clock;

  constructor(db: Kysely<Database>, keys: KeyProvider, clock: Clock) {
    this.#db = db;
    this.#keys = keys;
    this.#clock = clock;
  }

  /** Stores a secret in place of the one of the same id, if there is one. @throws CallerFault invalid_argument */
  async put(id: SecretId, value: Uint8Array, actor: string): Promise<Secret> {
    checkId(id);
    if (value.length === 0) throw invalid('value', 'value is empty');
    if (value.length > VALUE_BYTES_MAX) {
      throw invalid('value', `value is ${value.length} bytes long, more than ${VALUE_BYTES_MAX}`);
    }
    const sealed = await seal(this.#keys, id, value);
    return this.#db.transaction().execute(async (transaction) => {
      await this.#checkRoom(transaction, id);
      const at = new Date(this.#clock.nowMs());
      const content = { ...columnsOf(sealed), put_at: at, put_by: actor };
      const row = await transaction
        .insertInto('secrets')
        .values({ customer_id: id.customerId, name: id.name, ...content })
        .onConflict((conflict) => conflict.columns(['customer_id', 'name']).doUpdateSet(content))
        .returningAll()
        .executeTakeFirstOrThrow();
      await appendAudit(transaction, { at, actor, action: 'secret.put', subject: id.name, detail: detailOf(id) });
      return toSecret(row);
    });
  }

  /** For who acts in meterd's name; no RPC answers it. @throws CallerFault not_found; NotAuthentic where it is not the one that was put */
  async read(id: SecretId): Promise<Buffer> {
    const row = await this.#db
      .selectFrom('secrets')
      .selectAll()
      .where('customer_id', '=', id.customerId)
      .where('name', '=', id.name)
      .executeTakeFirst();
    if (row === undefined) throw noSecret(id);
    return unseal(this.#keys, id, sealedOf(row));
  }

  /** By customer and name, those behind `after` only. */
  async list(after: SecretId, limit: number): Promise<Secret[]> {
    const rows = await this.#db
      .selectFrom('secrets')
      .selectAll()
      .where(sql<boolean>`(customer_id, name) > (${after.customerId}, ${after.name})`)
      .orderBy('customer_id')
      .orderBy('name')
      .limit(limit)
      .execute();
    return rows.map(toSecret);
  }

  /** @throws CallerFault not_found */
  async delete(id: SecretId, actor: string): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      const { numDeletedRows } = await transaction
        .deleteFrom('secrets')
        .where('customer_id', '=', id.customerId)
        .where('name', '=', id.name)
        .executeTakeFirstOrThrow();
      if (numDeletedRows === 0n) throw noSecret(id);
      const at = new Date(this.#clock.nowMs());
      await appendAudit(transaction, { at, actor, action: 'secret.deleted', subject: id.name, detail: detailOf(id) });
    });
  }

  /**
   * Wraps every data key that an older key wraps with the newest one.
   * @param makeKey whether a new key is made first
   * @throws as `SecretRotation.run`; CallerFault failed_precondition where a KMS makes the keys
   */
  async rotate(makeKey: boolean, actor: string, signal: AbortSignal): Promise<Rotation> {
    const wrappingKeyId = makeKey ? await this.#makeKey() : await this.#keys.newestId();
    return new SecretRotation(this.#db, this.#keys, this.#clock, actor).run(wrappingKeyId, signal);
  }

  /** Of two that are made at once one could be lost, and all that it wraps with it. */
  async #makeKey(): Promise<string> {
    return this.#db.transaction().execute(async (transaction) => {
      await withTransactionLock(transaction, 'meterd.secret-keys');
      return this.#keys.addKey();
    });
  }

  /** @throws CallerFault failed_precondition where the customer has as many as it may */
  async #checkRoom(transaction: Transaction<Database>, { customerId, name }: SecretId): Promise<void> {
    // Two that come at once would both find room for one.
    await withTransactionLock(transaction, `meterd.secrets.${customerId}`);
    const { others } = await transaction
      .selectFrom('secrets')
      .select(sql<string>`count(*)`.as('others'))
      .where('customer_id', '=', customerId)
      .where('name', '<>', name)
      .executeTakeFirstOrThrow();
    if (Number(others) < SECRETS_OF_CUSTOMER_MAX) return;
    const message = `customer_id: "${customerId}" has ${others} secrets; ${SECRETS_OF_CUSTOMER_MAX} is the most`;
    throw new CallerFault('failed_precondition', 'customer_id', message);
  }
}

/** Whether there is any that a key of a file, or one of a KMS, wraps: then that must be there too. */
export async function hasSecrets(db: Kysely<Database>, wrappedBy: 'file' | 'kms'): Promise<boolean> {
  const of = wrappedBy === 'kms' ? 'like' : 'not like';
  const any = db.selectFrom('secrets').select('name').where('wrapping_key_id', of, `${KMS_ID_PREFIX}%`).limit(1);
  return (await any.executeTakeFirst()) !== undefined;
}

/** Removes a customer's secrets. @returns how many there were */
export async function eraseSecretsOf(transaction: Transaction<Database>, customerId: string): Promise<number> {
  const { numDeletedRows } = await transaction
    .deleteFrom('secrets')
    .where('customer_id', '=', customerId)
    .executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}

function checkId({ customerId, name }: SecretId): void {
  if (customerId !== '') parseCustomerId('customer_id', customerId);
  parseId('name', name);
}

function columnsOf({ ciphertext, dataKey }: SealedSecret) {
  return {
    ciphertext: Buffer.from(ciphertext),
    wrapped_key: Buffer.from(dataKey.bytes),
    wrapping_key_id: dataKey.wrappingKeyId,
  };
}

function sealedOf(row: Selectable<SecretsTable>): SealedSecret {
  const dataKey = { wrappingKeyId: row.wrapping_key_id, bytes: row.wrapped_key };
  return { ciphertext: row.ciphertext, dataKey };
}

function toSecret(row: Selectable<SecretsTable>): Secret {
  return {
    customerId: row.customer_id,
    name: row.name,
    wrappingKeyId: row.wrapping_key_id,
    putAt: row.put_at,
    putBy: row.put_by,
  };
}

function detailOf({ customerId }: SecretId): Record<string, string> {
  return { customer_id: customerId };
}

function noSecret({ customerId, name }: SecretId): CallerFault {
  const message = `name: "${customerId}" has no secret ${JSON.stringify(name.slice(0, 200))}`;
  return new CallerFault('not_found', 'name', message);
}

function invalid(field: string, message: string): CallerFault {
  return new CallerFault('invalid_argument', field, message);
}
