import { batchShape, type FleetSpec, PHASE_MINUTES, phaseOf, type WindowShape } from './fleet.ts';
import { lineTemplate } from './line-template.ts';
import { requestTemplate, type RequestTemplate } from './request-template.ts';
import { rowTemplate } from './row-template.ts';
import type { Template } from './template.ts';

/** How far back the first windows lie: inside the bound of 35 days for late ones. */
const BACK_MINUTES = 34 * 1440;
const PHASES = 8;

/** Which windows the n-th batch of a fleet holds. */
export interface Job {
  readonly number: number;
  readonly host: number;
  /** Unix minutes. */
  readonly firstMinute: number;
}

/** A fleet whose first windows are as old as the service takes them. Leaves out what is as usual. */
export function fleetSpec(given: Partial<FleetSpec> & { readonly nowMs: number }): FleetSpec {
  const { nowMs, ...chosen } = given;
  const firstMinute = Math.floor(nowMs / 60_000) - BACK_MINUTES;
  return {
    seed: 20_260_101,
    hosts: 256,
    firstHost: 0,
    vmsPerHost: 60,
    minutesPerBatch: 10,
    firstMinute: Math.ceil(firstMinute / PHASE_MINUTES) * PHASE_MINUTES,
    lastMinute: Math.floor(nowMs / 60_000),
    customers: 500,
    firstCustomer: 1,
    shapes: 32,
    ...chosen,
  };
}

/** The batches of a fleet, in the order in which they are sent: every host in turn, then on in time. */
export class Generator<T extends Template> {
  readonly spec: FleetSpec;
  readonly #encode: (shapes: readonly WindowShape[]) => T;
  readonly #templates = new Map<number, T>();

  constructor(spec: FleetSpec, encode: (shapes: readonly WindowShape[]) => T) {
    this.spec = spec;
    this.#encode = encode;
  }

  static ofRequests(spec: FleetSpec): Generator<RequestTemplate> {
    return new Generator(spec, requestTemplate);
  }

  static ofRows(spec: FleetSpec): Generator<Template> {
    return new Generator(spec, rowTemplate);
  }

  static ofLines(spec: FleetSpec): Generator<Template> {
    return new Generator(spec, lineTemplate);
  }

  get windowsPerBatch(): number {
    return this.spec.vmsPerHost * this.spec.minutesPerBatch;
  }

  /** @throws Error where the windows would end after the last minute: the fleet is too small for so many */
  job(number: number): Job {
    const { hosts, firstHost, minutesPerBatch, lastMinute } = this.spec;
    const firstMinute = this.spec.firstMinute + Math.floor(number / hosts) * minutesPerBatch;
    if (firstMinute + minutesPerBatch > lastMinute) {
      throw new Error(`batch ${number} of ${hosts} hosts is past the last minute: more hosts are needed`);
    }
    return { number, host: firstHost + (number % hosts), firstMinute };
  }

  /** What a batch is made of; the same one for batches that repeat each other's values. */
  template(job: Job): T {
    const { shapes, firstHost } = this.spec;
    const phase = phaseOf(job.firstMinute);
    const host = job.host - firstHost;
    if (shapes === undefined) return this.#encode(batchShape(this.spec, host, phase, job.number));
    const shape = host % shapes;
    const key = shape * PHASES + phase;
    let template = this.#templates.get(key);
    if (template === undefined) {
      template = this.#encode(batchShape(this.spec, shape, phase, 0));
      this.#templates.set(key, template);
    }
    return template;
  }

  /** Encodes every template now, before a clock starts. */
  warm(): void {
    const { shapes, hosts, firstHost, minutesPerBatch, firstMinute } = this.spec;
    for (let shape = 0; shape < Math.min(shapes ?? 0, hosts); shape++) {
      for (let phase = 0; phase < PHASES; phase++) {
        const minute = firstMinute + phase * PHASE_MINUTES;
        this.template({
          number: (phase * PHASE_MINUTES * hosts) / minutesPerBatch,
          host: firstHost + shape,
          firstMinute: minute,
        });
      }
    }
  }
}
