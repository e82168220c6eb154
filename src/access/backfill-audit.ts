import type { Kysely } from 'kysely';
import type { Clock } from '../lib/clock.ts';
import { appendAudit } from '../audit/trail.ts';
import type { Database } from '../storage/postgres/schema.ts';

/** What one key backfilled since the last record of it. */
interface Backfill {
  readonly windows: number;
  readonly fromNanos: bigint;
  readonly toNanos: bigint;
}

/**
 * Audits the use of the right to backfill: one record per key and flush, not one per batch, and never in the way of an
 * ack. What a crash takes before its flush is in the windows themselves: each names its key and when it was received.
 */
export class BackfillAudit {
  readonly #db: Kysely<Database>;
  readonly #clock: Clock;
  #byKey = new Map<string, Backfill>();

  constructor(db: Kysely<Database>, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  note(keyId: string, more: Backfill): void {
    const sum = this.#byKey.get(keyId);
    this.#byKey.set(keyId, sum === undefined ? { ...more } : sumOf(sum, more));
  }

  /** Writes what was noted. @throws what Postgres throws; what was noted is then kept for the next flush */
  async flush(): Promise<void> {
    for (const [keyId, sum] of this.#byKey) {
      this.#byKey.delete(keyId);
      try {
        await this.#db.transaction().execute((transaction) =>
          appendAudit(transaction, {
            at: new Date(this.#clock.nowMs()),
            actor: keyId,
            action: 'backfill.used',
            subject: keyId,
            detail: { windows: sum.windows, from: isoSeconds(sum.fromNanos), to: isoSeconds(sum.toNanos) },
          }),
        );
      } catch (reason) {
        this.note(keyId, sum);
        throw reason;
      }
    }
  }
}

function sumOf(a: Backfill, b: Backfill): Backfill {
  return {
    windows: a.windows + b.windows,
    fromNanos: a.fromNanos < b.fromNanos ? a.fromNanos : b.fromNanos,
    toNanos: a.toNanos > b.toNanos ? a.toNanos : b.toNanos,
  };
}

function isoSeconds(nanos: bigint): string {
  return new Date(Number(nanos / 1_000_000n)).toISOString();
}
