import { fromBinary } from '@bufbuild/protobuf';
import { setTimeout as wait } from 'node:timers/promises';
import { SendMetricsBatchResponseSchema } from '../../gen/billing/v1/collector_pb.ts';
import type { Generator, Job } from '../generator/generator.ts';
import { fillRequest, type RequestTemplate } from '../generator/request-template.ts';
import { addTally, type Tally } from '../generator/tally.ts';
import type { Answer, Caller } from './caller.ts';

export const SEND_PATH = '/billing.v1.BillingCollectorService/SendMetricsBatch';
const TOO_MANY_REQUESTS = 429;
const UNAVAILABLE = 503;
const RETRY_AFTER_MS = 1000;
const TRIES_MAX = 120;

/** What the service counted. */
export interface Counted {
  accepted: number;
  duplicate: number;
  refusals: number;
}

/** Sends a fleet's batches, each until it is acknowledged, and keeps exact totals of what was. */
export class Sender {
  readonly #generator: Generator<RequestTemplate>;
  readonly #caller: Caller;
  /** Bodies of calls under way: a body may not change before its call is answered. */
  readonly #freeBuffers: Buffer[] = [];
  readonly #tally: Tally;
  #nextJob = 0;

  constructor(generator: Generator<RequestTemplate>, caller: Caller, tally: Tally) {
    this.#generator = generator;
    this.#caller = caller;
    this.#tally = tally;
  }

  get windowsPerBatch(): number {
    return this.#generator.windowsPerBatch;
  }

  /** Sends the next batch that was never sent, and counts it once it is acknowledged. */
  async sendNext(counted: Counted): Promise<Job> {
    const job = this.#generator.job(this.#nextJob++);
    const template = this.#generator.template(job);
    await this.#send(job, template, counted);
    addTally(this.#tally, template.totals);
    return job;
  }

  /** Sends an acknowledged batch again, which must change nothing. */
  async sendAgain(job: Job, counted: Counted): Promise<void> {
    await this.#send(job, this.#generator.template(job), counted);
  }

  /** The batch that was sent when half as many were sent. Only with none under way is it sure to be acknowledged. */
  oldJob(job: Job): Job {
    return this.#generator.job(Math.floor(job.number / 2));
  }

  async #send(job: Job, template: RequestTemplate, counted: Counted): Promise<void> {
    const buffer = this.#freeBuffers.pop() ?? Buffer.allocUnsafe(template.bytes.length * 2);
    const large = buffer.length < template.bytes.length ? Buffer.allocUnsafe(template.bytes.length * 2) : buffer;
    const body = fillRequest(template, large, { host: job.host, firstMinute: job.firstMinute, job: job.number });
    for (let tries = 1; ; tries++) {
      const answer = await this.#caller.call(SEND_PATH, body);
      if (answer.status === 200) {
        count(answer, template.windows, counted);
        break;
      }
      if (!isNotNow(answer) || tries >= TRIES_MAX) throw new Error(`batch ${job.number}: ${inWords(answer)}`);
      counted.refusals++;
      await wait(answer.retryAfterMs ?? RETRY_AFTER_MS);
    }
    this.#freeBuffers.push(large);
  }
}

function isNotNow({ status }: Answer): boolean {
  return status === TOO_MANY_REQUESTS || status === UNAVAILABLE;
}

function inWords({ status, body }: Answer): string {
  return `the service answered ${status} ${body.toString('utf8', 0, 300)}`;
}

/** @throws Error where the service did not take every window of the batch */
function count(answer: Answer, windows: number, counted: Counted): void {
  const { accepted, duplicate, conflicting, refused, problems } = fromBinary(
    SendMetricsBatchResponseSchema,
    answer.body,
  );
  if (accepted + duplicate !== windows) {
    throw new Error(
      `of ${windows} windows ${accepted} were accepted, ${duplicate} duplicates, ${conflicting} in conflict, ` +
        `${refused} refused: ${problems[0]?.message ?? 'no reason given'}`,
    );
  }
  counted.accepted += accepted;
  counted.duplicate += duplicate;
}
