import { Code, ConnectError, type ContextValues, createContextKey } from '@connectrpc/connect';
import type { Admission, CallerId, CallLimits } from './call-limits.ts';
import type { Peer } from './peer.ts';

/** How long a client may keep a call waiting, and a call its client. */
export interface CallTimeouts {
  /** For the whole body of a call. */
  readonly receiveTimeoutMs: number;
  /** For a client to take more of an answer, once some of it could not be sent. */
  readonly sendTimeoutMs: number;
  /** For the work of a call that came without a deadline. Streams have none. */
  readonly workTimeoutMs: number;
}

/** For a client to notice that it was answered before all of its body was read. */
const END_TIMEOUT_MS = 1000;

/** Cuts a call that has waited for too long. */
type Cut = (reason: ConnectError) => void;

/** The calls under way, with what each of them waits for. One sweep over all of them costs less than a timer for each. */
export class OpenCalls {
  readonly #timeouts: CallTimeouts;
  readonly #limits: CallLimits;
  readonly #open = new Set<OpenCall>();
  readonly #sweeping: NodeJS.Timeout;

  constructor(limits: CallLimits, timeouts: CallTimeouts) {
    this.#limits = limits;
    this.#timeouts = timeouts;
    const { receiveTimeoutMs, sendTimeoutMs, workTimeoutMs } = timeouts;
    const intervalMs = Math.min(1000, receiveTimeoutMs / 4, sendTimeoutMs / 4, workTimeoutMs / 4);
    this.#sweeping = setInterval(() => this.#sweep(), Math.max(1, intervalMs));
    this.#sweeping.unref();
  }

  get count(): number {
    return this.#open.size;
  }

  enter(peer: Peer): OpenCall {
    const call = new OpenCall(this.#limits, this.#timeouts, peer);
    this.#open.add(call);
    return call;
  }

  leave(call: OpenCall): void {
    this.#open.delete(call);
    call.end();
  }

  stop(): void {
    clearInterval(this.#sweeping);
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const call of this.#open) call.cutWhereOverdue(nowMs);
    this.#limits.sweep();
  }
}

/** Something that is waited for, and when that is over. */
class Wait {
  #dueMs = Number.POSITIVE_INFINITY;
  #cut: Cut | undefined;

  begin(timeoutMs: number, cut: Cut): void {
    this.#dueMs = performance.now() + timeoutMs;
    this.#cut = cut;
  }

  end(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    this.#cut = undefined;
  }

  cutWhereOverdue(nowMs: number, what: string): void {
    if (nowMs < this.#dueMs) return;
    const cut = this.#cut;
    this.end();
    cut?.(new ConnectError(`${what} took longer than it may`, Code.DeadlineExceeded));
  }
}

/** One call, from its headers to its end, with what it may wait for. */
export class OpenCall {
  /** Who is at the other end of the connection. */
  readonly peer: Peer;
  readonly #limits: CallLimits;
  readonly #timeouts: CallTimeouts;
  readonly #body = new Wait();
  readonly #work = new Wait();
  readonly #client = new Wait();
  readonly #end = new Wait();
  #admission: Admission | undefined;
  #ended = false;

  constructor(limits: CallLimits, timeouts: CallTimeouts, peer: Peer) {
    this.#limits = limits;
    this.#timeouts = timeouts;
    this.peer = peer;
  }

  /** Lets the call in as one of this caller's. @throws NotNow where the caller is over a limit */
  admit(caller: CallerId): void {
    const admission = this.#limits.admit(caller);
    if (this.#ended) admission.end();
    else this.#admission = admission;
  }

  /** Counts bytes of the body. @throws NotNow where the bodies of all calls would hold too much */
  hold(bytes: number, overheadBytes: number): void {
    this.#admission?.hold(bytes, overheadBytes);
  }

  /** From here until `hasBody`, or for too long. */
  awaitsBody(cut: Cut): void {
    this.#body.begin(this.#timeouts.receiveTimeoutMs, cut);
  }

  hasBody(): void {
    this.#body.end();
  }

  /** From here until `hasAnswer`, or for too long. */
  awaitsAnswer(cut: Cut): void {
    this.#work.begin(this.#timeouts.workTimeoutMs, cut);
  }

  hasAnswer(): void {
    this.#work.end();
  }

  /** From here until `hasReader`, or for too long: the client is to take in what is on its way to it. */
  awaitsReader(cut: Cut): void {
    this.#client.begin(this.#timeouts.sendTimeoutMs, cut);
  }

  hasReader(): void {
    this.#client.end();
  }

  /** From here for a moment: the call was answered, and its client still sends. */
  awaitsEnd(cut: Cut): void {
    this.#end.begin(END_TIMEOUT_MS, cut);
  }

  cutWhereOverdue(nowMs: number): void {
    this.#body.cutWhereOverdue(nowMs, 'the body of the call');
    this.#work.cutWhereOverdue(nowMs, 'the call');
    this.#client.cutWhereOverdue(nowMs, 'reading the answer');
    this.#end.cutWhereOverdue(nowMs, 'the end of the call');
  }

  end(): void {
    this.#ended = true;
    for (const wait of [this.#body, this.#work, this.#client, this.#end]) wait.end();
    this.#admission?.end();
  }
}

/** The call that a handler's context belongs to. */
export const kOpenCall = createContextKey<OpenCall | undefined>(undefined, { description: 'the call under way' });

export function openCallOf(values: ContextValues): OpenCall {
  const call = values.get(kOpenCall);
  if (call === undefined) throw new Error('a call came past the place where calls are counted');
  return call;
}
