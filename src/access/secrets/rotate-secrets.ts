import { type Kysely, type Selectable, sql } from 'kysely';
import { appendAuditAll, type AuditEntry } from '../../audit/trail.ts';
import type { Clock } from '../../lib/clock.ts';
import { NotNow } from '../../lib/failure.ts';
import type { SecretsTable } from '../../storage/postgres/schema-control.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { NotAuthentic } from './aead.ts';
import type { KeyProvider, WrappedKey } from './key-provider.ts';
import { rewrap, type SecretId } from './sealed-secret.ts';

export interface Rotation {
  /** What every secret is wrapped with now, but for those in `failed`. */
  readonly wrappingKeyId: string;
  readonly rewrapped: number;
  /** Those that do not open. They are left as they are. */
  readonly failed: readonly SecretId[];
}

/** Rows that are read at once, and written in one transaction. */
const ROTATED_AT_ONCE = 100;
const FAILED_MAX = 1000;
/** A KMS makes keys when it likes, and two processes may ask for one each: what an older one wrapped meanwhile is gone over again. */
const PASSES_MAX = 3;
const AGAIN_AFTER_MS = 10_000;

type SecretRow = Selectable<SecretsTable>;

/** A row as it was read, and its data key as the newest key wraps it. */
interface Rewrapped {
  readonly row: SecretRow;
  readonly dataKey: WrappedKey;
}

/** Wraps the data keys of all secrets anew. */
export class SecretRotation {
  readonly #db: Kysely<Database>;
  readonly #keys: KeyProvider;
  readonly #clock: Clock;
  readonly #actor: string;
  /** The keys that wrapped anything here. What one of them wraps is not counted again. */
  readonly #newestIds = new Set<string>();
  #rewrapped = 0;

  constructor(db: Kysely<Database>, keys: KeyProvider, clock: Clock, actor: string) {
    this.#db = db;
    this.#keys = keys;
    this.#clock = clock;
    this.#actor = actor;
  }

  /**
   * Batch by batch: what is cut short goes on with the next rotation.
   * @throws the signal's reason; Error where more than 1,000 secrets do not open; NotNow unavailable where the newest key changed
   *   in each pass, or its provider is away
   */
  async run(newestId: string, signal: AbortSignal): Promise<Rotation> {
    let wrappingKeyId = newestId;
    for (let pass = 1; pass <= PASSES_MAX; pass++) {
      const { strayed, failed } = await this.#pass(wrappingKeyId, signal);
      if (strayed === 0) return { wrappingKeyId, rewrapped: this.#rewrapped, failed };
      wrappingKeyId = await this.#keys.newestId();
    }
    const message = `the newest wrapping key changed in each of ${PASSES_MAX} passes; rotate again`;
    throw new NotNow('unavailable', AGAIN_AFTER_MS, message);
  }

  /** @returns `strayed`: how many another key wraps now than the one that was the newest */
  async #pass(wrappingKeyId: string, signal: AbortSignal): Promise<{ strayed: number; failed: SecretId[] }> {
    const failed: SecretId[] = [];
    let strayed = 0;
    let after: SecretId | undefined = { customerId: '', name: '' };
    while (after !== undefined) {
      const rows = await this.#read(wrappingKeyId, after);
      const rewrapped: Rewrapped[] = [];
      // No row is locked meanwhile: a KMS may take seconds for each, and a put of one of them would wait for all.
      for (const row of rows) {
        signal.throwIfAborted();
        const dataKey = await this.#rewrapOf(row);
        if (dataKey === undefined) failed.push(idOf(row));
        else rewrapped.push({ row, dataKey });
      }
      if (failed.length > FAILED_MAX) throw new Error(`${failed.length} secrets do not open`);
      await this.#store(rewrapped, rows.length - rewrapped.length);
      strayed += rewrapped.filter(({ dataKey }) => dataKey.wrappingKeyId !== wrappingKeyId).length;
      const last = rows.length < ROTATED_AT_ONCE ? undefined : rows.at(-1);
      after = last === undefined ? undefined : idOf(last);
    }
    return { strayed, failed };
  }

  async #read(wrappingKeyId: string, after: SecretId): Promise<SecretRow[]> {
    return this.#db
      .selectFrom('secrets')
      .selectAll()
      .where(sql<boolean>`(customer_id, name) > (${after.customerId}, ${after.name})`)
      .where('wrapping_key_id', '<>', wrappingKeyId)
      .orderBy('customer_id')
      .orderBy('name')
      .limit(ROTATED_AT_ONCE)
      .execute();
  }

  /** @returns `undefined` where it does not open, which keeps none of the others from being rotated */
  async #rewrapOf(row: SecretRow): Promise<WrappedKey | undefined> {
    try {
      return await rewrap(this.#keys, idOf(row), { wrappingKeyId: row.wrapping_key_id, bytes: row.wrapped_key });
    } catch (reason) {
      if (reason instanceof NotAuthentic) return undefined;
      throw reason;
    }
  }

  /** A row that was put, rotated or removed since it was read is left as it is. */
  async #store(batch: readonly Rewrapped[], failed: number): Promise<void> {
    const stored = await this.#db.transaction().execute(async (transaction) => {
      const updated: Rewrapped[] = [];
      for (const { row, dataKey } of batch) {
        const { numUpdatedRows } = await transaction
          .updateTable('secrets')
          .set({ wrapped_key: Buffer.from(dataKey.bytes), wrapping_key_id: dataKey.wrappingKeyId })
          .where('customer_id', '=', row.customer_id)
          .where('name', '=', row.name)
          .where('wrapped_key', '=', row.wrapped_key)
          .executeTakeFirstOrThrow();
        if (numUpdatedRows > 0n) updated.push({ row, dataKey });
      }
      await appendAuditAll(transaction, this.#auditOf(updated, failed));
      return updated;
    });
    for (const { dataKey } of stored) this.#newestIds.add(dataKey.wrappingKeyId);
    this.#rewrapped += stored.filter(({ row }) => !this.#newestIds.has(row.wrapping_key_id)).length;
  }

  /** One for each key that wraps any of them now; it is one key but where that changed just then. */
  #auditOf(updated: readonly Rewrapped[], failed: number): AuditEntry[] {
    const at = new Date(this.#clock.nowMs());
    const byKey = Map.groupBy(updated, ({ dataKey }) => dataKey.wrappingKeyId);
    return [...byKey].map(([subject, { length: rewrapped }]) => {
      return { at, actor: this.#actor, action: 'secret.rewrapped', subject, detail: { rewrapped, failed } };
    });
  }
}

function idOf({ customer_id: customerId, name }: SecretRow): SecretId {
  return { customerId, name };
}
