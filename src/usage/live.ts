import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';
import { CallerFault, NotNow } from '../lib/failure.ts';
import { type AcceptedBatch, LiveRing } from './live-ring.ts';
import { LiveSums, type LiveUsage } from './live-sums.ts';

/** Windows accepted since the update before. One without usage says that the stream is alive. */
export interface LiveUpdate {
  readonly customerId: string;
  readonly usage: LiveUsage[];
  readonly sentAtMs: number;
  /** Goes on right behind this update. */
  readonly resumeToken: string;
  /** Windows accepted since the resume token that was asked for may be missing from this stream. */
  readonly reset: boolean;
}

export interface LiveSubscription {
  readonly customerId: string;
  /** Only these, where any are named; at most 1,000. */
  readonly regions: readonly string[];
  /** Of the last update seen; empty: from now on. */
  readonly resumeToken: string;
  /** Ends the subscription; the iteration then ends without an error. */
  readonly signal: AbortSignal;
}

/** Comes back after `delayMs`, or at once where `wake` is aborted. Never throws. */
export type Sleep = (delayMs: number, wake: AbortSignal) => Promise<void>;

export interface LiveHubOptions {
  readonly clock: Clock;
  readonly sleep?: Sleep;
  readonly subscribersMax?: number;
  /** VMs and regions that may wait for one subscriber. */
  readonly entriesMax?: number;
  /** What is kept for those who come back with a resume token. */
  readonly ring?: { readonly batchesMax: number; readonly windowsMax: number };
}

const SUBSCRIBERS_MAX = 10_000;
const ENTRIES_MAX = 10_000;
const RING = { batchesMax: 4_096, windowsMax: 50_000 };
const UPDATE_PAUSE_MS = 200;
const KEEP_ALIVE_MS = 15_000;
const RETRY_AFTER_MS = 1_000;
/** How long after the last subscriber left windows are still kept for one that comes back. */
const RESUME_MS = 300_000;
const REGIONS_MAX = 1_000;
const TOKEN = /^([0-9a-f-]{36})\.(\d{1,15})$/;

/** Hands windows on to subscribers as they are acknowledged. Holds no window that storage does not hold too. */
export class LiveHub {
  /** Names this process in resume tokens: numbers of another's batches mean nothing here. */
  readonly #epoch = randomUUID();
  readonly #ring: LiveRing;
  readonly #clock: Clock;
  readonly #sleep: Sleep;
  readonly #subscribersMax: number;
  readonly #entriesMax: number;
  readonly #subscribers = new Map<string, Set<Subscriber>>();
  #subscriberCount = 0;
  #lastLeftMs = Number.NEGATIVE_INFINITY;

  constructor(options: LiveHubOptions) {
    this.#clock = options.clock;
    this.#sleep = options.sleep ?? sleep;
    this.#subscribersMax = options.subscribersMax ?? SUBSCRIBERS_MAX;
    this.#entriesMax = options.entriesMax ?? ENTRIES_MAX;
    this.#ring = new LiveRing(options.ring ?? RING);
  }

  get subscriberCount(): number {
    return this.#subscriberCount;
  }

  /**
   * Tells of windows that were acknowledged. They are read only where somebody listens, or did a moment ago and may come
   * back with a resume token: at full rate, keeping them for nobody would cost more than taking them.
   */
  offer(read: () => AcceptedBatch): void {
    if (this.#subscriberCount > 0 || this.#clock.nowMs() - this.#lastLeftMs < RESUME_MS) this.publish(read());
    else this.#ring.skip();
  }

  /** As `offer`, for windows that are at hand. */
  publish(batch: AcceptedBatch): void {
    this.#ring.push(batch);
    if (this.#subscriberCount === 0) return;
    for (const window of batch) {
      const subscribers = this.#subscribers.get(window.customerId);
      if (!subscribers) continue;
      for (const subscriber of subscribers) subscriber.add(window);
    }
  }

  /**
   * A customer's accepted windows as updates: the first at once, then at most one in 200 ms and at least one in 15 s.
   * It counts as a subscriber from this call until `signal` is aborted or the iteration ends.
   * @throws CallerFault where the resume token is malformed or too many regions are named; NotNow where there are too
   *   many subscribers; NotNow out of the iteration where more VMs wait for the reader than are kept for it
   */
  subscribe(subscription: LiveSubscription): AsyncIterable<LiveUpdate> {
    const { customerId, regions, signal } = subscription;
    if (regions.length > REGIONS_MAX) {
      throw new CallerFault(
        'invalid_argument',
        'regions',
        `regions has ${regions.length} entries, more than ${REGIONS_MAX}`,
      );
    }
    const missed = this.#missedSince(subscription.resumeToken);
    if (this.#subscriberCount >= this.#subscribersMax) {
      throw new NotNow(
        'resource_exhausted',
        RETRY_AFTER_MS,
        `${this.#subscribersMax} live streams are open, which is the most`,
      );
    }
    const subscriber = new Subscriber(customerId, regions, this.#entriesMax);
    for (const batch of missed ?? []) for (const window of batch) subscriber.add(window);
    if (!signal.aborted) this.#enter(subscriber, signal);
    return this.#updates(subscriber, missed === undefined, signal);
  }

  /** The batches behind the token; `undefined` where they are not all kept. */
  #missedSince(resumeToken: string): AcceptedBatch[] | undefined {
    if (resumeToken === '') return [];
    const [, epoch, number] = TOKEN.exec(resumeToken) ?? [];
    if (epoch === undefined || number === undefined) {
      const shown = JSON.stringify(resumeToken.slice(0, 100));
      throw new CallerFault('invalid_argument', 'resume_token', `resume_token ${shown} is none that was given out`);
    }
    return epoch === this.#epoch ? this.#ring.since(Number(number)) : undefined;
  }

  #enter(subscriber: Subscriber, signal: AbortSignal): void {
    const { customerId } = subscriber;
    const subscribers = this.#subscribers.get(customerId) ?? new Set();
    this.#subscribers.set(customerId, subscribers.add(subscriber));
    this.#subscriberCount++;
    const leave = () => {
      signal.removeEventListener('abort', leave);
      if (!subscribers.delete(subscriber)) return;
      this.#subscriberCount--;
      this.#lastLeftMs = this.#clock.nowMs();
      if (subscribers.size === 0) this.#subscribers.delete(customerId);
      subscriber.wakeUp();
    };
    subscriber.leave = leave;
    signal.addEventListener('abort', leave);
  }

  async *#updates(subscriber: Subscriber, reset: boolean, signal: AbortSignal): AsyncGenerator<LiveUpdate> {
    let resumeToken = `${this.#epoch}.${this.#ring.newest}`;
    try {
      for (let first = true; ; first = false) {
        if (!first) await subscriber.rest(this.#sleep, signal);
        if (signal.aborted) return;
        if (subscriber.sums.full) throw tooSlow(this.#entriesMax, first ? '' : resumeToken);
        const usage = subscriber.sums.take();
        resumeToken = `${this.#epoch}.${this.#ring.newest}`;
        yield {
          customerId: subscriber.customerId,
          usage,
          sentAtMs: this.#clock.nowMs(),
          resumeToken,
          reset: first && reset,
        };
      }
    } finally {
      subscriber.leave();
    }
  }
}

class Subscriber {
  readonly customerId: string;
  readonly sums: LiveSums;
  leave: () => void = () => undefined;
  readonly #regions: ReadonlySet<string>;
  #wake: AbortController | undefined;

  constructor(customerId: string, regions: readonly string[], entriesMax: number) {
    this.customerId = customerId;
    this.#regions = new Set(regions);
    this.sums = new LiveSums(entriesMax);
  }

  add(window: Parameters<LiveSums['add']>[0]): void {
    if (window.customerId !== this.customerId) return;
    if (this.#regions.size > 0 && !this.#regions.has(window.region)) return;
    this.sums.add(window);
    this.wakeUp();
  }

  wakeUp(): void {
    this.#wake?.abort();
  }

  /** Until the next update is due: first the pause that none may cut short but the end, then until there is something. */
  async rest(sleeping: Sleep, end: AbortSignal): Promise<void> {
    await sleeping(UPDATE_PAUSE_MS, end);
    if (end.aborted || !this.sums.empty || this.sums.full) return;
    this.#wake = new AbortController();
    await sleeping(KEEP_ALIVE_MS - UPDATE_PAUSE_MS, this.#wake.signal);
    this.#wake = undefined;
  }
}

function tooSlow(entriesMax: number, resumeToken: string): NotNow {
  const resume = resumeToken === '' ? 'without a resume token' : `with resume token ${resumeToken}`;
  const message = `more than ${entriesMax} VMs wait for this reader, which is the most; try again ${resume}`;
  return new NotNow('resource_exhausted', RETRY_AFTER_MS, message);
}

async function sleep(delayMs: number, wake: AbortSignal): Promise<void> {
  try {
    await wait(delayMs, undefined, { signal: wake });
  } catch (reason) {
    if (!wake.aborted) throw reason;
  }
}
