import { metrics } from '@opentelemetry/api';
import type { CircuitChange } from '../lib/circuit-breaker.ts';
import { messageOf } from '../lib/failure.ts';
import type { Logger } from './logger.ts';

/** A job's run as events tell it. */
export interface JobEvent {
  readonly job: string;
  readonly period: string;
  readonly durationMs: number;
  readonly detail: string;
}

/**
 * One function per thing that happens, doing its metric and its log together. Labels have few values: no customer, VM
 * or key is ever one.
 */
export class Events {
  readonly #log: Logger;
  readonly #meter = metrics.getMeter('meterd');
  readonly #windows = this.#meter.createCounter('meterd_windows', {
    description: 'Reported windows and readings by verdict',
  });
  readonly #calls = this.#meter.createHistogram('meterd_rpc_duration', {
    unit: 's',
    description: 'Calls by method and code',
  });
  readonly #syncs = this.#meter.createHistogram('meterd_spool_sync', { unit: 's', description: 'Group commits' });
  readonly #spoolTroubles = this.#meter.createCounter('meterd_spool_troubles', {
    description: 'Spool events that need a look, by kind',
  });
  readonly #storedRows = this.#meter.createCounter('meterd_stored_rows', { description: 'Rows stored in ClickHouse' });
  readonly #storing = this.#meter.createHistogram('meterd_store_duration', { unit: 's', description: 'Blocks stored' });
  readonly #storeFailures = this.#meter.createCounter('meterd_store_failures', {
    description: 'Tries to store a batch that failed and are made again, by kind',
  });
  readonly #circuitChanges = this.#meter.createCounter('meterd_circuit_changes', {
    description: 'Changes of the circuit to another side, by that side and the new state',
  });
  readonly #setAside = this.#meter.createCounter('meterd_set_aside_rows', {
    description: 'Acknowledged rows that could not be stored and are kept as files',
  });
  readonly #refusedNotKept = this.#meter.createCounter('meterd_refused_not_kept', {
    description: 'Refused windows that there was no room to keep for a look',
  });
  readonly #departures = this.#meter.createCounter('meterd_engine_departures', {
    description: 'Embedded engines that left without being asked to and are started again',
  });
  readonly #jobs = this.#meter.createHistogram('meterd_job_duration', {
    unit: 's',
    description: 'Job runs by outcome',
  });

  constructor(log: Logger) {
    this.#log = log;
  }

  batchTaken(verdict: { accepted: number; duplicate: number; conflicting: number; refused: number }): void {
    this.#windows.add(verdict.accepted, { verdict: 'accepted' });
    this.#windows.add(verdict.duplicate, { verdict: 'duplicate' });
    this.#windows.add(verdict.conflicting, { verdict: 'conflicting' });
    this.#windows.add(verdict.refused, { verdict: 'refused' });
  }

  callEnded(call: { method: string; code: string; durationMs: number; failure: unknown }): void {
    this.#calls.record(call.durationMs / 1000, { method: call.method, code: call.code });
    if (call.failure !== undefined) this.#log.error({ method: call.method, err: call.failure }, 'a call failed');
  }

  requestFailed(path: string, reason: unknown): void {
    this.#log.error({ path, err: reason }, 'a request failed');
  }

  groupSynced(durationMs: number): void {
    this.#syncs.record(durationMs / 1000);
  }

  spoolTrouble(kind: string, detail: object): void {
    this.#spoolTroubles.add(1, { kind });
    this.#log.warn({ kind, ...detail }, 'the spool needs a look');
  }

  spoolOpened(detail: object): void {
    this.#log.info(detail, 'spool opened');
  }

  blockStored(rows: number, bytes: number, durationMs: number): void {
    this.#storedRows.add(rows);
    this.#storing.record(durationMs / 1000);
    this.#log.debug({ rows, bytes, durationMs }, 'block stored');
  }

  /** Logged when it changes something (`circuitChanged`), not at each try. */
  storeFailed(kind: string, reason: unknown): void {
    this.#storeFailures.add(1, { kind });
    this.#log.debug({ kind, err: reason }, 'a batch could not be stored; it stays in the spool and is tried again');
  }

  circuitChanged(target: string, { circuit, before, awayMs }: CircuitChange): void {
    this.#circuitChanges.add(1, { target, state: circuit.name });
    switch (circuit.name) {
      case 'closed':
        this.#log.info({ target, awayMs: Math.round(awayMs) }, 'it answers again');
        return;
      case 'half-open':
        this.#log.debug({ target }, 'it is tried with one call');
        return;
      case 'open': {
        const detail = { target, awayMs: Math.round(awayMs), delayMs: circuit.delayMs, err: circuit.reason };
        this.#log.warn(detail, before.name === 'closed' ? 'it is away; nothing is sent to it' : 'it is still away');
      }
    }
  }

  rowsSetAside(file: string, rows: number, reason: unknown): void {
    this.#setAside.add(rows);
    this.#log.error({ file, rows, err: reason }, 'acknowledged windows cannot be stored; they are in this file');
  }

  refusedNotKept(windows: number): void {
    this.#refusedNotKept.add(windows);
    this.#log.warn({ windows }, 'refused windows are not kept: too many at once, or ClickHouse is away');
  }

  refusedNotStored(reason: unknown): void {
    this.#log.warn({ err: reason }, 'refused windows could not be stored yet; it is tried again');
  }

  jobSucceeded(run: JobEvent): void {
    this.#jobs.record(run.durationMs / 1000, { job: run.job, outcome: 'succeeded' });
    this.#log.info(run, 'job succeeded');
  }

  jobFailed(run: JobEvent, reason: unknown): void {
    this.#jobs.record(run.durationMs / 1000, { job: run.job, outcome: 'failed' });
    this.#log.error({ ...run, err: reason }, 'job failed');
  }

  keysNotRead(reason: unknown): void {
    this.#log.warn({ err: reason }, 'keys could not be read; the last known set stands in');
  }

  certificateReplaced(): void {
    this.#log.info('new connections are secured with another certificate');
  }

  certificateNotRead(reason: unknown): void {
    this.#log.error({ err: reason }, 'the certificate could not be read anew; the one before stays');
  }

  auditNotWritten(reason: unknown): void {
    this.#log.warn({ err: reason }, 'the use of backfill could not be audited yet; it is tried again');
  }

  engineSaid(engine: string, line: string): void {
    const isTrouble = /\b(WARNING|ERROR|FATAL|PANIC)\b/i.test(line);
    this.#log[isTrouble ? 'warn' : 'debug']({ engine, line }, 'an embedded engine says');
  }

  engineLeft(engine: string, why: string): void {
    this.#departures.add(1, { engine });
    this.#log.error({ engine, why }, 'an embedded engine has left; it is started again');
  }

  connectionBroke(engine: string, reason: unknown): void {
    // The driver hangs its whole state on the error: its message is what helps.
    this.#log.warn({ engine, reason: messageOf(reason) }, 'an idle connection broke; another is opened when needed');
  }

  stopStepFailed(reason: unknown): void {
    this.#log.error({ err: reason }, 'a step of stopping failed; the others go on');
  }

  firstKeyMade(path: string): void {
    this.#log.info({ path }, 'first start: the admin key is in this file');
  }

  started(address: string, durationMs: number): void {
    this.#log.info({ address, durationMs: Math.round(durationMs) }, 'meterd is ready');
  }

  stopping(reason: string): void {
    this.#log.info({ reason }, 'meterd stops');
  }

  stopped(durationMs: number): void {
    this.#log.info({ durationMs: Math.round(durationMs) }, 'meterd stopped');
  }

  /** Shows a figure that is read when metrics are. */
  gauge(name: string, description: string, read: () => number): void {
    this.#meter.createObservableGauge(name, { description }).addCallback((result) => result.observe(read()));
  }
}
