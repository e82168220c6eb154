import { type AcceptedWindow, type Quantities, quantitiesOf, type UsageQuantities } from './window.ts';

/** Windows of one VM in one region, summed as they came: overlaps count twice, unlike in `customerUsage`. */
export interface LiveUsage {
  readonly vmId: string;
  readonly region: string;
  /** From the first window's start to the last window's end. */
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  readonly quantities: UsageQuantities;
}

/**
 * What one subscriber has not been sent yet, by VM and region: a slow reader costs memory by VMs, not by windows.
 * Bounded: past `entriesMax` it is full, holds nothing any more, and stays so.
 */
export class LiveSums {
  readonly #entriesMax: number;
  #entries = new Map<string, LiveUsage>();
  #full = false;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get full(): boolean {
    return this.#full;
  }

  get empty(): boolean {
    return this.#entries.size === 0;
  }

  add(window: AcceptedWindow): void {
    if (this.#full) return;
    // Ids and regions hold no control characters, so no two pairs join to the same text.
    const key = `${window.vmId}\0${window.region}`;
    const before = this.#entries.get(key);
    if (!before && this.#entries.size >= this.#entriesMax) {
      this.#full = true;
      this.#entries.clear();
      return;
    }
    this.#entries.set(key, before ? plus(before, window) : first(window));
  }

  /** What was added since the last call. */
  take(): LiveUsage[] {
    const taken = [...this.#entries.values()];
    this.#entries = new Map();
    return taken;
  }
}

function first(window: AcceptedWindow): LiveUsage {
  const { vmId, region, startNanos, endNanos } = window;
  return { vmId, region, startNanos, endNanos, quantities: added(undefined, window) };
}

function plus(before: LiveUsage, window: AcceptedWindow): LiveUsage {
  return {
    vmId: before.vmId,
    region: before.region,
    startNanos: window.startNanos < before.startNanos ? window.startNanos : before.startNanos,
    endNanos: window.endNanos > before.endNanos ? window.endNanos : before.endNanos,
    quantities: added(before.quantities, window),
  };
}

function added(before: UsageQuantities | undefined, window: AcceptedWindow): UsageQuantities {
  const sum = (field: keyof Quantities) => (before?.[field] ?? 0n) + window[field];
  return {
    ...quantitiesOf(sum),
    observedNanos: (before?.observedNanos ?? 0n) + window.endNanos - window.startNanos,
    windows: (before?.windows ?? 0n) + 1n,
  };
}
