/** A spool whose syncs end when the test says so. */
export class HeldSpool {
  readonly payloads: Buffer[] = [];
  readonly syncs: PromiseWithResolvers<void>[] = [];

  append(payload: readonly Uint8Array[]): Promise<void> {
    this.payloads.push(Buffer.concat(payload));
    const sync = Promise.withResolvers<void>();
    this.syncs.push(sync);
    return sync.promise;
  }
}

/** Whether a promise has settled, without waiting for it. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  await new Promise(setImmediate);
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}
