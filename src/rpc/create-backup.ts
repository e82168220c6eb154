import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { CreateBackupRequest, CreateBackupResponseSchema } from '../../gen/billing/v1/backup_pb.ts';
import { type BackupProgress, type BackupStore, createBackup as create } from '../backup/create-backup.ts';
import { callerOf } from './auth.ts';

export function createBackup(store: BackupStore) {
  return async function* (
    { folder }: CreateBackupRequest,
    context: HandlerContext,
  ): AsyncGenerator<MessageInitShape<typeof CreateBackupResponseSchema>> {
    const left = new AbortController();
    const signal = AbortSignal.any([context.signal, left.signal]);
    const told = new Latest<BackupProgress>();
    const running = create(store, {
      folder,
      actor: callerOf(context).keyId,
      onProgress: (progress) => told.say(progress),
      signal,
    });
    try {
      void running.then(
        () => told.end(),
        () => told.end(),
      );
      for await (const progress of told) yield progress;
      const { takenAt, bytes, rows, ...backup } = await running;
      yield { backup: { ...backup, takenAt: timestampFromDate(takenAt), bytes: BigInt(bytes), rows: BigInt(rows) } };
    } finally {
      left.abort(new Error('the caller has left'));
      // Nobody hears how it ends, and what it has written is removed by then.
      await running.catch(() => undefined);
    }
  };
}

/** Hands on what was said last; what was said before it and not yet read is passed over. */
class Latest<T> {
  #value: T | undefined;
  #ended = false;
  #said = Promise.withResolvers<void>();

  say(value: T): void {
    this.#value = value;
    this.#said.resolve();
  }

  end(): void {
    this.#ended = true;
    this.#said.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      await this.#said.promise;
      this.#said = Promise.withResolvers();
      const value = this.#value;
      this.#value = undefined;
      if (value !== undefined) yield value;
      if (this.#ended) return;
    }
  }
}
