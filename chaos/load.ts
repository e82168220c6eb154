import { setTimeout as wait } from 'node:timers/promises';
import type { Random } from '../bench/generator/random.ts';
import type { Answer, SendClient } from './client.ts';
import type { Fleet } from './fleet.ts';
import type { SendLog } from './send-log.ts';

export interface LoadOptions {
  readonly fleet: Fleet;
  readonly log: SendLog;
  readonly random: Random;
  /** Calls under way at once. */
  readonly lanes: number;
  /** How many of a thousand calls send a batch that was sent before. */
  readonly resendPermille: number;
  /** Told of each answer, with the batch it is about, and when that was sent, as `performance.now()` has it. */
  readonly onAnswer?: (answer: Answer, batch: number, sentMs: number) => void;
  /** Told before each call how many bytes it sends; the call waits for it. */
  readonly pace?: (bytes: number) => Promise<void>;
}

/** How long a lane waits after a call that was not taken. */
const PAUSE_MS = 20;

/** Keeps calls under way, notes in the log what was acknowledged, and what an answer says that it must not. */
export class Load {
  readonly #options: LoadOptions;
  /** What was answered to batches that are all good: anything but accepted or duplicate. */
  readonly wrong: string[] = [];

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** Sends until `signal` fires; a broken call ends its lane where `untilBroken`. */
  async run(
    client: SendClient,
    { signal, untilBroken = false }: { signal: AbortSignal; untilBroken?: boolean },
  ): Promise<void> {
    const lane = async (): Promise<void> => {
      while (!signal.aborted) {
        const answer = await this.sendOne(client);
        if (answer.kind === 'broken' && untilBroken) return;
        if (answer.kind !== 'acknowledged') await wait(PAUSE_MS);
      }
    };
    await Promise.all(Array.from({ length: this.#options.lanes }, lane));
  }

  /** Sends a new batch, or an old one, and notes the answer. */
  async sendOne(client: SendClient): Promise<Answer> {
    const { log, random, resendPermille } = this.#options;
    return this.send(client, random.chance(resendPermille) ? log.takeOld(random) : log.takeNew());
  }

  async send(client: SendClient, batch: number): Promise<Answer> {
    const { fleet, log, onAnswer, pace } = this.#options;
    const body = fleet.request(batch);
    await pace?.(body.length);
    const sentMs = performance.now();
    const answer = await client.send(body);
    if (answer.kind === 'acknowledged') {
      const { accepted, duplicate, conflicting, refused } = answer.response;
      if (accepted + duplicate === fleet.options.windowsPerBatch) log.acknowledge(batch);
      if (conflicting + refused > 0) {
        this.wrong.push(`batch ${batch}: ${conflicting} in conflict, ${refused} refused, though all are good`);
      }
    }
    onAnswer?.(answer, batch, sentMs);
    return answer;
  }
}
