import { NotNow } from './failure.ts';

/**
 * What a circuit breaker is doing. Times are in milliseconds of the breaker's own clock; `sinceMs` is when the circuit was
 * last closed, through any number of probes that failed; `reason` is why it is not.
 *
 * closed → open, after failures in a row or one call that hung → half-open, when a delay has passed and somebody calls →
 * closed where that one call succeeds, and else open again with twice the delay.
 */
export type Circuit =
  /** Every call goes through. */
  | { readonly name: 'closed'; readonly failures: number }
  /** No call goes through before `probeAtMs`; `delayMs` is what that instant was drawn from. */
  | {
      readonly name: 'open';
      readonly sinceMs: number;
      readonly delayMs: number;
      readonly probeAtMs: number;
      readonly reason: unknown;
    }
  /** One call is under way to see whether it succeeds; no other goes through. */
  | { readonly name: 'half-open'; readonly sinceMs: number; readonly delayMs: number; readonly reason: unknown };

export interface CircuitLimits {
  /** Failures in a row that open the circuit. */
  readonly failuresMax: number;
  /** The wait before the first probe; it doubles with each probe that fails, with up to half of it left off by chance. */
  readonly delayMs: number;
  readonly delayMsMax: number;
}

/** How a call ended that did not succeed. */
export interface Failure {
  readonly reason: unknown;
  /** One such call opens the circuit: waiting for several would take several times its timeout. */
  readonly hung: boolean;
  readonly nowMs: number;
  /** From 0 to 1, by chance: many breakers that opened together must not probe together. */
  readonly chance: number;
}

export const CLOSED: Circuit = { name: 'closed', failures: 0 };

/** What becomes of a circuit after a call that it let through has failed. Pure. */
export function afterFailure(circuit: Circuit, failure: Failure, limits: CircuitLimits): Circuit {
  switch (circuit.name) {
    case 'closed': {
      const failures = circuit.failures + 1;
      if (failures < limits.failuresMax && !failure.hung) return { name: 'closed', failures };
      return opened(failure.nowMs, limits.delayMs, failure, limits);
    }
    case 'half-open':
      return opened(circuit.sinceMs, 2 * circuit.delayMs, failure, limits);
    case 'open':
      // It was let through before the circuit opened, and says nothing new.
      return circuit;
  }
}

function opened(sinceMs: number, delay: number, { reason, nowMs, chance }: Failure, limits: CircuitLimits): Circuit {
  const delayMs = Math.min(delay, limits.delayMsMax);
  return { name: 'open', sinceMs, delayMs, probeAtMs: nowMs + delayMs * (1 - chance / 2), reason };
}

/** What the end of a call that threw says of the other side: it failed; it is there, and said no; or neither. */
export type Said = 'failed' | 'answered' | 'nothing';

/** The circuit went from one state to another, which has another name. */
export interface CircuitChange {
  readonly circuit: Circuit;
  readonly before: Circuit;
  /** How long the circuit has not been closed, up to now. */
  readonly awayMs: number;
}

export interface CircuitBreakerOptions extends CircuitLimits {
  /** What messages call the other side, e.g. `ClickHouse`. */
  readonly target: string;
  /** `failed` where left out: what is the caller's own fault must then not be thrown through here. */
  readonly says?: (reason: unknown) => Said;
  /** Whether a failed call took so long that the other side counts as hung. None does where left out. */
  readonly isHung?: (reason: unknown) => boolean;
  /** Must not throw. */
  readonly onChange: (change: CircuitChange) => void;
  /** A clock that never goes back, in milliseconds: one that is set back would keep the circuit open for as long. */
  readonly nowMs?: () => number;
  /** From 0 to 1. */
  readonly chance?: () => number;
}

/**
 * Keeps calls away from another side that does not answer, and finds out when it does again. A call must end, since a probe that
 * does not would keep the circuit half-open for ever.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #nowMs: () => number;
  readonly #chance: () => number;
  #circuit: Circuit = CLOSED;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#chance = options.chance ?? Math.random;
  }

  get circuit(): Circuit {
    return this.#circuit;
  }

  /** How long the circuit has not been closed; 0 where it is. */
  get awayMs(): number {
    return this.#circuit.name === 'closed' ? 0 : this.#nowMs() - this.#circuit.sinceMs;
  }

  /** How long until a call may be let through: 0 where one would be now, or where a probe is under way. */
  get waitMs(): number {
    return this.#circuit.name === 'open' ? Math.max(0, this.#circuit.probeAtMs - this.#nowMs()) : 0;
  }

  /**
   * Makes a call where the circuit lets it through.
   * @param signal of the caller: once it has fired, an error may be of the caller's making and says nothing
   * @throws NotNow unavailable where it does not; what the call throws
   */
  async run<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const isProbe = this.#enter();
    try {
      const result = await call();
      if (this.#concerns(isProbe)) this.#become(CLOSED);
      return result;
    } catch (reason) {
      if (this.#concerns(isProbe)) {
        this.#threw(reason, signal?.aborted ? 'nothing' : (this.#options.says?.(reason) ?? 'failed'));
      }
      throw reason;
    }
  }

  #threw(reason: unknown, said: Said): void {
    const nowMs = this.#nowMs();
    switch (said) {
      case 'answered':
        this.#become(CLOSED);
        return;
      case 'failed': {
        const hung = this.#options.isHung?.(reason) ?? false;
        this.#become(afterFailure(this.#circuit, { reason, hung, nowMs, chance: this.#chance() }, this.#options));
        return;
      }
      case 'nothing':
        // A probe that told nothing: the next call is one.
        if (this.#circuit.name === 'half-open') this.#become({ ...this.#circuit, name: 'open', probeAtMs: nowMs });
    }
  }

  /** @returns whether the call is the one that probes */
  #enter(): boolean {
    const circuit = this.#circuit;
    switch (circuit.name) {
      case 'closed':
        return false;
      case 'half-open':
        throw this.#refusal(circuit.delayMs);
      case 'open': {
        const { waitMs } = this;
        if (waitMs > 0) throw this.#refusal(waitMs);
        const { sinceMs, delayMs, reason } = circuit;
        this.#become({ name: 'half-open', sinceMs, delayMs, reason });
        return true;
      }
    }
  }

  /** Whether a call's end says something about the circuit as it is now: what was let through earlier does not. */
  #concerns(isProbe: boolean): boolean {
    return this.#circuit.name === (isProbe ? 'half-open' : 'closed');
  }

  #become(circuit: Circuit): void {
    const before = this.#circuit;
    const { awayMs } = this;
    this.#circuit = circuit;
    if (before.name !== circuit.name) this.#options.onChange({ circuit, before, awayMs });
  }

  #refusal(retryAfterMs: number): NotNow {
    return new NotNow('unavailable', retryAfterMs, `${this.#options.target} does not answer; it is tried again later`);
  }
}
