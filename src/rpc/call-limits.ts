import { NotNow } from '../lib/failure.ts';
import { TokenBucket } from '../lib/token-bucket.ts';

/** What one caller may do. */
export interface CallerLimits {
  readonly callsPerSecondMax: number;
  readonly bodyBytesPerSecondMax: number;
  /** Calls under way, streams among them. */
  readonly callsAtOnceMax: number;
}

export interface CallLimitsOptions {
  readonly perKey: CallerLimits;
  /** Of those who call what needs no key. */
  readonly perAddress: CallerLimits;
  /** What the bodies of all calls under way may hold. */
  readonly bodyBytesAtOnceMax: number;
  /** Milliseconds that only rise. */
  readonly nowMs?: () => number;
}

/** A caller may use up this many seconds of its rates at once. */
const BURST_SECONDS = 2;
/** A call waits for others to end; most take a few milliseconds. */
const RETRY_AFTER_MS = 1000;

/** Who calls. */
export interface CallerId {
  readonly kind: 'key' | 'address';
  readonly id: string;
}

interface Caller {
  readonly limits: CallerLimits;
  readonly calls: TokenBucket;
  readonly bytes: TokenBucket;
  callsAtOnce: number;
}

/** One call that was let in. */
export interface Admission {
  /**
   * Counts bytes of the call's body, and what is kept besides them.
   * @throws NotNow where the bodies of all calls would hold too much
   */
  hold(bytes: number, overheadBytes: number): void;
  /** Gives everything back that the call holds; again is harmless. */
  end(): void;
}

/** Bounds what each caller may ask for, and what the bodies of all calls hold, before any of a body is read. */
export class CallLimits {
  readonly #options: CallLimitsOptions;
  readonly #nowMs: () => number;
  readonly #callers = new Map<string, Caller>();
  #bodyBytes = 0;

  constructor(options: CallLimitsOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** What the bodies of calls under way hold. */
  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /** @throws NotNow RESOURCE_EXHAUSTED where the caller is over one of its rates, or has too many calls under way */
  admit({ kind, id }: CallerId): Admission {
    const nowMs = this.#nowMs();
    const name = `${kind} ${id}`;
    const caller = this.#callerOf(name, kind, nowMs);
    const { callsAtOnceMax, callsPerSecondMax, bodyBytesPerSecondMax } = caller.limits;
    if (caller.callsAtOnce >= callsAtOnceMax) {
      throw refusal(RETRY_AFTER_MS, `${name} has ${callsAtOnceMax} calls under way, which is the most`);
    }
    const callsWaitMs = caller.calls.waitMs(nowMs);
    if (callsWaitMs > 0) throw refusal(callsWaitMs, `${name} makes more than ${callsPerSecondMax} calls a second`);
    const bytesWaitMs = caller.bytes.waitMs(nowMs);
    if (bytesWaitMs > 0) throw refusal(bytesWaitMs, `${name} sends more than ${bodyBytesPerSecondMax} bytes a second`);
    caller.calls.spend(1);
    caller.callsAtOnce++;
    return this.#admission(caller);
  }

  /** Forgets callers of whom there is nothing to remember. To be called now and then. */
  sweep(): void {
    const nowMs = this.#nowMs();
    for (const [name, { callsAtOnce, calls, bytes }] of this.#callers) {
      if (callsAtOnce === 0 && calls.isFull(nowMs) && bytes.isFull(nowMs)) this.#callers.delete(name);
    }
  }

  #admission(caller: Caller): Admission {
    let held = 0;
    let ended = false;
    return {
      hold: (bytes, overheadBytes) => {
        const { bodyBytesAtOnceMax: bytesMax } = this.#options;
        const kept = bytes + overheadBytes;
        if (ended) return;
        if (this.#bodyBytes + kept > bytesMax) {
          throw refusal(RETRY_AFTER_MS, `the bodies of all calls under way hold ${bytesMax} bytes, which is the most`);
        }
        held += kept;
        this.#bodyBytes += kept;
        caller.bytes.spend(bytes);
      },
      end: () => {
        if (ended) return;
        ended = true;
        this.#bodyBytes -= held;
        caller.callsAtOnce--;
      },
    };
  }

  #callerOf(name: string, kind: CallerId['kind'], nowMs: number): Caller {
    const known = this.#callers.get(name);
    if (known !== undefined) return known;
    const limits = kind === 'key' ? this.#options.perKey : this.#options.perAddress;
    const { callsPerSecondMax, bodyBytesPerSecondMax } = limits;
    const caller: Caller = {
      limits,
      calls: new TokenBucket(callsPerSecondMax, callsPerSecondMax * BURST_SECONDS, nowMs),
      bytes: new TokenBucket(bodyBytesPerSecondMax, bodyBytesPerSecondMax * BURST_SECONDS, nowMs),
      callsAtOnce: 0,
    };
    this.#callers.set(name, caller);
    return caller;
  }
}

function refusal(retryAfterMs: number, message: string): NotNow {
  return new NotNow('resource_exhausted', retryAfterMs, message);
}
