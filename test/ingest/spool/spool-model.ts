import { deepEqual } from 'node:assert/strict';
import * as fc from 'fast-check';
import type { SpoolEvent } from '../../../src/ingest/spool/events.ts';
import { Spool } from '../../../src/ingest/spool/spool.ts';
import { idOf, recordOf } from './records.ts';
import { diskError, FOLDER, randomFrom, SimulatedDisk } from './simulated-disk.ts';

/** One thing that is done to the spool. */
export type Step =
  | { readonly do: 'append'; readonly sizes: readonly number[] }
  | { readonly do: 'drain'; readonly bytesMax: number }
  /** From so many operations on, the next so many writes or syncs of segments fail. */
  | { readonly do: 'fail'; readonly kind: 'write' | 'sync'; readonly after: number; readonly times: number }
  /**
   * The process ends after so many more operations, whatever it is doing then; where `early` is not 0, the one after it
   * ends too, so many operations into its start.
   */
  | { readonly do: 'end'; readonly how: 'kill' | 'power' | 'close'; readonly after: number; readonly early: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      sizes: fc.array(fc.integer({ min: 4, max: 1500 }), { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('drain' as const), bytesMax: fc.integer({ min: 1, max: 4000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      kind: fc.constantFrom('write' as const, 'sync' as const),
      after: fc.integer({ min: 0, max: 4 }),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      how: fc.constantFrom('kill' as const, 'power' as const, 'close' as const),
      after: fc.integer({ min: 0, max: 30 }),
      early: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 40 })),
    }),
  },
);

/** The model: ids, and what has been promised about each. */
class Run {
  disk: SimulatedDisk;
  spool: Spool | undefined;
  readonly appended = new Set<number>();
  /** Acknowledged, or told at a start: has to be there from then on. */
  readonly promised = new Set<number>();
  /** Marked as applied: must not be delivered again. */
  readonly applied = new Set<number>();
  /** A mark was tried and failed: either is right. */
  readonly perhapsApplied = new Set<number>();
  readonly damages: SpoolEvent[] = [];
  #nextId = 1;

  constructor(seed: number) {
    this.disk = new SimulatedDisk(randomFrom(seed));
    this.disk.shortWrites = true;
  }

  async open(): Promise<Spool> {
    const told: number[] = [];
    this.spool = await Spool.open({
      folder: FOLDER,
      disk: this.disk,
      quotaBytes: 1 << 24,
      segmentBytes: 8192 + 4096,
      groupBytesMax: 2048,
      keepAppliedSegments: 1,
      onRecord: (payload) => told.push(idOf(payload)),
      onEvent: (event) => {
        if (event.type !== 'quarantined') return;
        // A torn last group is all that a crash may leave.
        if (event.reason !== 'frame' || event.acknowledged === 'certainly') this.damages.push(event);
      },
    });
    deepEqual(
      told,
      told.toSorted((a, b) => a - b),
    );
    deepEqual(new Set(told).size, told.length);
    deepEqual(
      told.filter((id) => !this.appended.has(id)),
      [],
    );
    const due = [...this.promised].filter((id) => !this.applied.has(id) && !this.perhapsApplied.has(id));
    deepEqual(
      due.filter((id) => !told.includes(id)),
      [],
    );
    for (const id of told) this.promised.add(id);
    return this.spool;
  }

  async append(sizes: readonly number[]): Promise<void> {
    const appends = sizes.map(async (bytes) => {
      const id = this.#nextId++;
      this.appended.add(id);
      await this.spool?.append(recordOf(id, bytes));
      this.promised.add(id);
    });
    await Promise.allSettled(appends);
  }

  /** @returns false where there was nothing to drain */
  async drain(bytesMax: number): Promise<boolean> {
    const batch = await this.spool?.read(bytesMax);
    if (batch === undefined) return false;
    const ids = batch.payloads.map(idOf);
    deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    );
    deepEqual(
      ids.filter((id) => this.applied.has(id) || !this.appended.has(id)),
      [],
    );
    const earlier = [...this.promised].filter((id) => id < (ids[0] ?? 0));
    deepEqual(
      earlier.filter((id) => !this.applied.has(id) && !this.perhapsApplied.has(id)),
      [],
    );
    for (const id of ids) this.perhapsApplied.add(id);
    await this.spool?.markApplied(batch.end);
    for (const id of ids) this.applied.add(id);
    return true;
  }

  /** All operations fail once `after` more were done. */
  dieAfter(after: number): void {
    let left = after;
    this.disk.onOperation = () => (left-- > 0 ? undefined : diskError('EDEAD'));
  }

  async restart(how: 'kill' | 'power'): Promise<void> {
    this.disk.onOperation = () => diskError('EDEAD');
    await this.spool?.close().catch(() => undefined);
    this.disk = how === 'kill' ? this.disk.afterKill() : this.disk.afterPowerCut();
    this.disk.shortWrites = true;
  }
}

/**
 * Plays steps on a spool on a simulated disk, cuts the power at the end, and compares all that is promised, told and
 * delivered with the model.
 * @param seed of the disk's choices
 * @throws Error where a promise is broken
 */
async function play(seed: number, steps: readonly Step[]): Promise<void> {
  const run = new Run(seed);
  await run.open();
  let ending: Ending | undefined;
  for (const one of [...steps, { do: 'end', how: 'power', after: 0, early: 0 } as const]) {
    try {
      if (one.do === 'append') await run.append(one.sizes);
      else if (one.do === 'drain') await run.drain(one.bytesMax);
      else if (one.do === 'fail') failSegments(run, one);
      else {
        if (ending !== undefined) await restartAndOpen(run, ending);
        ending = undefined;
        if (one.how === 'close') {
          run.disk.onOperation = () => undefined;
          await run.spool?.close();
          await run.open();
        } else {
          run.dieAfter(one.after);
          ending = { how: one.how, early: one.early };
        }
      }
    } catch (reason) {
      onlyDiskErrors(reason);
    }
  }
  await restartAndOpen(run, ending ?? { how: 'power', early: 0 });
  while (await run.drain(3000));
  const left = [...run.promised].filter((id) => !run.applied.has(id) && !run.perhapsApplied.has(id));
  deepEqual(left, []);
  deepEqual(run.damages, []);
}

function failSegments(run: Run, { kind, after, times }: Extract<Step, { do: 'fail' }>): void {
  let seen = 0;
  run.disk.onOperation = (operation) => {
    if (operation.kind !== kind || !operation.name.startsWith('s')) return undefined;
    seen++;
    return seen > after && seen <= after + times ? diskError('EIO') : undefined;
  };
}

/** Only what the disk was told to do may go wrong. */
function onlyDiskErrors(reason: unknown): void {
  if (!(reason instanceof Error)) throw reason;
  if (!('code' in reason || (reason.cause instanceof Error && 'code' in reason.cause))) throw reason;
}

interface Ending {
  readonly how: 'kill' | 'power';
  readonly early: number;
}

async function restartAndOpen(run: Run, { how, early }: Ending): Promise<void> {
  await run.restart(how);
  if (early > 0) {
    run.dieAfter(early);
    await run.open().catch(onlyDiskErrors);
    await run.restart(how);
  }
  await run.open();
}

/**
 * The spool keeps every promise, invents nothing, keeps the order, on a disk that loses what was not synced.
 * @param seed another one tries other sequences; chosen anew where left out
 * @throws Error with the shortest sequence of steps that breaks a promise, and the seed and path that replay it
 */
export async function checkSpoolModel(runs: number, seed?: number): Promise<void> {
  const sequences = fc.array(step, { maxLength: 25 });
  const parameters = { numRuns: runs, ...(seed === undefined ? {} : { seed: seed | 0 }) };
  await fc.assert(fc.asyncProperty(fc.integer(), sequences, play), parameters);
}
