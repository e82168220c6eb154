import type { Clock } from '../../lib/clock.ts';
import type { SpoolDisk } from './disk.ts';
import type { SpoolListener } from './events.ts';

const CHECK_EVERY_MS = 1000;

export interface DiskRoomOptions {
  readonly disk: SpoolDisk;
  readonly folder: string;
  readonly freeDiskBytesMin: number;
  readonly clock: Clock;
  readonly onEvent: SpoolListener;
}

/** Whether the disk is low, as of at most a second before the last time someone asked. Nobody waits for the answer. */
export class DiskRoom {
  readonly #options: DiskRoomOptions;
  #low = false;
  #checkedMs = Number.NEGATIVE_INFINITY;

  constructor(options: DiskRoomOptions) {
    this.#options = options;
  }

  get low(): boolean {
    // Either way: the clock may be set back.
    if (Math.abs(this.#options.clock.nowMs() - this.#checkedMs) >= CHECK_EVERY_MS) void this.check();
    return this.#low;
  }

  /** Asks the disk. Where it gives no answer, the last one stays, and that is told. */
  async check(): Promise<void> {
    const { disk, folder, freeDiskBytesMin, clock, onEvent } = this.#options;
    this.#checkedMs = clock.nowMs();
    try {
      this.#low = (await disk.freeBytes(folder)) < freeDiskBytesMin;
    } catch (error) {
      onEvent({ type: 'upkeep-failed', what: 'asking for free space', error });
    }
  }
}
