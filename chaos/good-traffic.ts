import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

const PAUSE_MS = 10;
const CALL_TIMEOUT_MS = 10_000;

/** What became of the calls of somebody who does nothing wrong. */
export interface Served {
  readonly goodCalls: number;
  readonly goodFailed: number;
  readonly goodSlowestMs: number;
}

/** Makes one small call after another while an attack goes on. */
export class GoodTraffic {
  readonly #url: URL;
  readonly #authorization: string;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #over = new AbortController();
  readonly #running: Promise<void>;
  #calls = 0;
  #failed = 0;
  #slowestMs = 0;

  /** @param key of an operator */
  constructor(url: string, key: string) {
    this.#url = new URL('/billing.v1.CustomerService/ListCustomers', url);
    this.#authorization = `Bearer ${key}`;
    this.#running = this.#run();
  }

  async stop(): Promise<Served> {
    this.#over.abort();
    await this.#running;
    this.#agent.destroy();
    return { goodCalls: this.#calls, goodFailed: this.#failed, goodSlowestMs: Math.round(this.#slowestMs) };
  }

  async #run(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const startedMs = performance.now();
      const isServed = await this.#call();
      this.#calls++;
      if (!isServed) this.#failed++;
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - startedMs);
      await wait(PAUSE_MS);
    }
  }

  #call(): Promise<boolean> {
    return new Promise((resolve) => {
      const headers = { 'content-type': 'application/json', authorization: this.#authorization };
      const options = { agent: this.#agent, method: 'POST', headers, timeout: CALL_TIMEOUT_MS };
      const call = request(this.#url, options, (response) => {
        response.resume();
        response.on('close', () => resolve(response.complete && response.statusCode === 200));
      });
      call.on('timeout', () => call.destroy());
      call.on('error', () => resolve(false));
      call.end('{}');
    });
  }
}
