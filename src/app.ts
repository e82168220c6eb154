import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Code, ConnectError } from '@connectrpc/connect';
import type { ClickHouseClient } from '@clickhouse/client';
import { BackfillAudit } from './access/backfill-audit.ts';
import { ensureFirstKey } from './access/first-key.ts';
import { KeyStore } from './access/key-store.ts';
import { KnownKeys, REFRESH_MS } from './access/known-keys.ts';
import { SECRET_KEYS_FILE } from './access/secrets/local-keys.ts';
import { openKeys } from './access/secrets/open-keys.ts';
import { SecretStore } from './access/secrets/secret-store.ts';
import type { InvoicingStore } from './billing/invoice/invoicing-store.ts';
import type { Config, TlsPaths } from './config.ts';
import { type Collector, startCollector } from './ingest/collector.ts';
import { RefusedWindows } from './ingest/refused.ts';
import type { SpoolEvent } from './ingest/spool/events.ts';
import { auditAnchorJob } from './jobs/audit-anchor-job.ts';
import { invoiceJob } from './jobs/invoice-job.ts';
import { JobRuns } from './jobs/job-runs.ts';
import { retentionJob } from './jobs/retention-job.ts';
import { rollupJob } from './jobs/rollup-job.ts';
import { Scheduler } from './jobs/scheduler.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { messageOf } from './lib/failure.ts';
import { repeat } from './lib/repeat.ts';
import { authGate } from './rpc/auth.ts';
import { CallLimits } from './rpc/call-limits.ts';
import { keepDeadline } from './rpc/deadline.ts';
import { DirectBatches } from './rpc/direct-batches.ts';
import { httpHandler } from './rpc/http-handler.ts';
import { Listener } from './rpc/listener.ts';
import { type CallOutcome, observe } from './rpc/observe.ts';
import { OpenCalls } from './rpc/open-call.ts';
import { rawMethods, routes, type Served } from './rpc/routes.ts';
import { readTlsFiles } from './rpc/tls.ts';
import { connectClickHouse, PATIENT_TIMEOUT_MS } from './storage/clickhouse/client.ts';
import { guardedClickHouse } from './storage/clickhouse/guarded-client.ts';
import { migrateClickHouse } from './storage/clickhouse/migrate.ts';
import { lockDataFolder } from './storage/embedded/data-lock.ts';
import { engineBreaker } from './storage/engine-away.ts';
import { type Engines, startEngines } from './storage/engines.ts';
import { tryAdvisoryLock, withAdvisoryLock } from './storage/postgres/advisory-lock.ts';
import { connectPostgres, type Postgres } from './storage/postgres/client.ts';
import { migratePostgres } from './storage/postgres/migrate.ts';
import { Events } from './telemetry/events.ts';
import { createLogger } from './telemetry/logger.ts';
import { startTelemetry } from './telemetry/sdk.ts';
import { LiveHub } from './usage/live.ts';
import { UsageForBilling } from './usage/usage-for-billing.ts';
import { pages } from './web/pages.ts';

/** A running meterd. */
export interface App {
  readonly url: string;
  /** Where the admin key is, at the first start. */
  readonly firstKeyPath: string | undefined;
  /** Resolves with the reason when meterd cannot go on; it should then be stopped. */
  readonly failed: Promise<string>;
  /** Ends calls and jobs under way, then everything else, in the reverse order of the start. */
  stop(reason: string): Promise<void>;
}

const BACKFILL_FLUSH_MS = 5000;
const REFUSED_FLUSH_MS = 5000;
const BODY_TIMEOUT_MS_MAX = 60_000;
/** Of one address for what needs no key: health and reflection. */
const PUBLIC_LIMITS = { bodyBytesPerSecondMax: 1_000_000, callsAtOnceMax: 100 };
const TLS_RELOAD_MS = 10_000;
const EVENT_LOOP_LOOK_MS = 10;
/** Hourly: what was not anchored yet could be cut off unseen. */
const AUDIT_ANCHOR_SCHEDULE = '5 * * * *';
/** Long enough for a start's run of any job but a month's first closing; a caller that waits longer asks again. */
const JOB_TURN_WAIT_MS = 60_000;
const RETENTION_SCHEDULE = '41 3 * * *';

/** What has started so far, and how to stop it. */
class Started {
  readonly #steps: (() => Promise<void> | void)[] = [];

  /** `stop` is called before the stops of everything that started earlier. */
  add(stop: () => Promise<void> | void): void {
    this.#steps.push(stop);
  }

  /** Stops all, latest first; one that fails keeps none of the others from stopping. */
  async stop(onFailed: (reason: unknown) => void): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (reason) {
        onFailed(reason);
      }
    }
  }
}

/** What everything else stands on. */
interface Foundation {
  readonly config: Config;
  readonly clock: Clock;
  readonly events: Events;
  readonly engines: Engines;
  readonly clickhouse: ClickHouseClient;
  /** The same ClickHouse for jobs, whose statements may take long. */
  readonly patient: ClickHouseClient;
  /** The same for what stores windows, which has a breaker of its own. */
  readonly storing: ClickHouseClient;
  readonly postgres: Postgres;
}

/**
 * Starts meterd, from the ground up: data folder → engines → schemas → keys → spool → jobs → port. Each needs those
 * before it; the port comes last, so that whoever can connect is served.
 * @throws what could not be started; what had started is stopped
 */
export async function startApp(
  config: Config,
  environment: Readonly<Record<string, string | undefined>>,
  clock: Clock = systemClock,
): Promise<App> {
  const startedMs = performance.now();
  const telemetry = startTelemetry(environment);
  const events = new Events(createLogger(config.logLevel));
  const started = new Started();
  const state = { stopping: false };
  try {
    started.add(() => telemetry.stop());
    const foundation = await startFoundation({ config, clock, events, started });
    const { keys, known, firstKeyPath } = await startKeys(foundation, started);
    const secrets = await openSecrets(foundation, started);
    const { collector, live } = await startCollecting(foundation, started);
    const billing = invoicingStore(foundation);
    const jobs = startJobs({ ...foundation, clickhouse: foundation.patient }, collector, started);
    const readiness = (): string[] => (state.stopping ? ['stopping'] : collectorTrouble(collector));
    showMemory(events);
    showEventLoop(events, started);
    const listener = await serve(foundation, {
      served: {
        keys,
        known,
        secrets,
        billing,
        readers: foundation.postgres.guarded,
        backup: { ...config, ...foundation.engines, ...foundation.postgres, clock, settle: settleOf(collector) },
        clickhouse: foundation.clickhouse,
        usage: new UsageForBilling(foundation.clickhouse),
        runs: new JobRuns(foundation.postgres.db),
        isReady: () => readiness().length === 0,
        ingest: collector?.ingest,
        lifecycle: collector?.lifecycle,
        live,
        jobs,
        rawDays: config.rawDays,
        answersQueries: config.roles.has('query'),
      },
      pages: pages({
        readiness,
        notes: () => collectorNotes(collector),
        scrape: () => telemetry.scrape(),
        authenticate: (header) => known.authenticate(header),
      }),
      started,
    });
    const url = urlOf(config, await listener.listen(config.host, config.port));
    events.started(url, performance.now() - startedMs);
    const failed = Promise.race([foundation.engines.failed, ...(collector === undefined ? [] : [collector.failed])]);
    return {
      url,
      firstKeyPath,
      failed,
      async stop(reason) {
        const stoppingMs = performance.now();
        state.stopping = true;
        events.stopping(reason);
        await started.stop((failure) => events.stopStepFailed(failure));
        events.stopped(performance.now() - stoppingMs);
      },
    };
  } catch (reason) {
    await started.stop((failure) => events.stopStepFailed(failure));
    throw reason;
  }
}

function urlOf({ tls, host }: Config, port: number): string {
  return `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function startFoundation(given: {
  config: Config;
  clock: Clock;
  events: Events;
  started: Started;
}): Promise<Foundation> {
  const { config, clock, events, started } = given;
  const lock = lockDataFolder(config.dataDir);
  started.add(() => lock.release());
  const engines = await startEngines({
    ...config,
    onLog: (engine, line) => events.engineSaid(engine, line),
    onLeft: (engine, why) => events.engineLeft(engine, why),
  });
  started.add(() => engines.stop());
  const { clickhouseUrl, databaseUrl } = engines;
  await migratePostgres(databaseUrl);
  const postgres = connectPostgres(databaseUrl, {
    onIdleError: (reason) => events.connectionBroke('postgres', reason),
    onCircuit: (change) => events.circuitChanged('postgres', change),
  });
  started.add(() => postgres.close());
  // ClickHouse has no locks of its own, so Postgres's keep two processes from migrating it at once.
  const withLock = <T>(work: () => Promise<T>): Promise<T> => withAdvisoryLock(postgres.pool, 'meterd.migrate', work);
  await migrateClickHouse({ url: clickhouseUrl, withLock });
  const storing = connectClickHouse({ url: clickhouseUrl });
  started.add(() => storing.close());
  const unhurried = connectClickHouse({ url: clickhouseUrl, requestTimeoutMs: PATIENT_TIMEOUT_MS });
  started.add(() => unhurried.close());
  const breaker = engineBreaker('ClickHouse', (change) => events.circuitChanged('clickhouse reads', change));
  const clickhouse = guardedClickHouse(storing, breaker);
  const patient = guardedClickHouse(unhurried, breaker);
  return { config, clock, events, engines, clickhouse, patient, storing, postgres };
}

async function startKeys(
  { config, clock, events, postgres }: Foundation,
  started: Started,
): Promise<{ keys: KeyStore; known: KnownKeys; firstKeyPath: string | undefined }> {
  const keys = new KeyStore(postgres.db, clock);
  const firstKeyPath = await ensureFirstKey(keys, config.dataDir);
  if (firstKeyPath !== undefined) events.firstKeyMade(firstKeyPath);
  const known = new KnownKeys(keys, clock);
  await known.refresh();
  const refreshing = repeat(
    () => known.refresh(),
    REFRESH_MS,
    (reason) => events.keysNotRead(reason),
  );
  started.add(() => refreshing.stop());
  return { keys, known, firstKeyPath };
}

async function openSecrets({ config, clock, events, postgres }: Foundation, started: Started): Promise<SecretStore> {
  const { keys, close } = await openKeys(postgres.db, {
    filePath: config.secretKeysPath ?? join(config.dataDir, SECRET_KEYS_FILE),
    kmsSocketPath: config.secretKmsPath,
    onKmsCircuit: (change) => events.circuitChanged('kms', change),
  });
  started.add(close);
  return new SecretStore(postgres.db, keys, clock);
}

async function startCollecting(
  { config, clock, events, clickhouse, storing, postgres }: Foundation,
  started: Started,
): Promise<{ collector: Collector | undefined; live: LiveHub | undefined }> {
  if (!config.roles.has('collector')) return { collector: undefined, live: undefined };
  const live = new LiveHub({ clock, subscribersMax: config.liveSubscribersMax });
  const backfills = new BackfillAudit(postgres.db, clock);
  const refused = new RefusedWindows({
    clickhouse,
    isThere: () => collector.clickHouse().circuit === 'closed',
    onNotKept: (windows) => events.refusedNotKept(windows),
  });
  const collector = await startCollector({
    dataDir: config.dataDir,
    clickhouse: storing,
    clock,
    limits: config,
    onAccepted: (read) => live.offer(read),
    onBackfilled: (credentialId, backfilled) => backfills.note(credentialId, backfilled),
    onRefused: (batch) => refused.note(batch),
    onVerdict: (verdict) => events.batchTaken(verdict),
    onSpoolEvent: (event) => tellSpoolEvent(events, event),
    onStored: (rows, bytes, durationMs) => events.blockStored(rows, bytes, durationMs),
    onFailed: (kind, reason) => events.storeFailed(kind, reason),
    onCircuit: (change) => events.circuitChanged('clickhouse', change),
    onSetAside: (file, rows, reason) => events.rowsSetAside(file, rows, reason),
  });
  // Only now: where the spool cannot be opened, nobody would stop these, and the process would not end.
  const flushing = repeat(
    () => backfills.flush(),
    BACKFILL_FLUSH_MS,
    (reason) => events.auditNotWritten(reason),
  );
  const storingRefused = repeat(
    () => refused.flush(),
    REFUSED_FLUSH_MS,
    (reason) => events.refusedNotStored(reason),
  );
  started.add(async () => {
    await storingRefused.stop();
    await refused.stop().catch((reason: unknown) => events.refusedNotStored(reason));
    await collector.stop();
    await flushing.stop();
    await backfills.flush();
  });
  events.gauge(
    'meterd_spool_unapplied_bytes',
    'Acknowledged and not yet stored',
    () => collector.stats().unappliedBytes,
  );
  events.gauge('meterd_spool_oldest_age_ms', 'Age of the oldest record not yet stored', () => {
    return collector.stats().oldestUnappliedAgeMs;
  });
  events.gauge('meterd_clickhouse_circuit', 'Whether windows are stored: 0 closed, 1 half-open, 2 open', () => {
    return ['closed', 'half-open', 'open'].indexOf(collector.clickHouse().circuit);
  });
  events.gauge('meterd_live_subscribers', 'Open live streams', () => live.subscriberCount);
  return { collector, live };
}

/** Waits until what this process has acknowledged is stored. */
function settleOf(collector: Collector | undefined): (signal: AbortSignal) => Promise<void> {
  return (signal) => collector?.settle(signal) ?? Promise.resolve();
}

/** What invoices are made, read and proved from, the same for calls and for jobs. */
function invoicingStore({ config, clock, clickhouse, postgres }: Foundation): InvoicingStore {
  return {
    db: postgres.db,
    clock,
    usage: new UsageForBilling(clickhouse),
    graceMs: config.invoiceGraceMs,
    numberPrefix: config.invoicePrefix,
    creditNotePrefix: config.creditNotePrefix,
  };
}

function startJobs(foundation: Foundation, collector: Collector | undefined, started: Started): Scheduler | undefined {
  const { config, clock, events, clickhouse, postgres } = foundation;
  if (!config.roles.has('jobs')) return undefined;
  const settle = settleOf(collector);
  const billing = invoicingStore(foundation);
  const rollup = rollupJob({ schedule: config.rollupSchedule, clickhouse, clock, settle });
  const invoices = invoiceJob({ schedule: config.invoiceSchedule, store: billing, settle });
  const anchors = auditAnchorJob({ schedule: AUDIT_ANCHOR_SCHEDULE, store: { db: postgres.db, clickhouse, clock } });
  const retention = retentionJob({ ...config, schedule: RETENTION_SCHEDULE, store: billing, clickhouse });
  const scheduler = new Scheduler({
    jobs: [rollup, invoices, anchors, retention],
    runs: new JobRuns(postgres.db),
    clock,
    turnWaitMs: JOB_TURN_WAIT_MS,
    tryLock: (name, work) => tryAdvisoryLock(postgres.pool, name, work),
    onSucceeded: (event) => events.jobSucceeded(event),
    onFailed: (event, reason) => events.jobFailed(event, reason),
  });
  scheduler.start();
  started.add(() => scheduler.stop());
  return scheduler;
}

async function serve(
  { config, events }: Foundation,
  given: { served: Served; pages: ReturnType<typeof pages>; started: Started },
): Promise<Listener> {
  const shutdown = new AbortController();
  const limits = new CallLimits({
    perKey: config,
    perAddress: { ...PUBLIC_LIMITS, callsPerSecondMax: config.publicCallsPerSecondMax },
    bodyBytesAtOnceMax: config.bodyBytesAtOnceMax,
  });
  const calls = new OpenCalls(limits, config);
  const onCall = (outcome: CallOutcome): void => events.callEnded(outcome);
  const { ingest, known: authenticator } = given.served;
  const jsonOptions = { alwaysEmitImplicit: true, ignoreUnknownFields: true };
  const common = { authenticator, jsonOptions, bytesMax: config.bodyBytesMax };
  const onRequest = httpHandler({
    rpc: {
      requestGate: authGate(given.served.known),
      interceptors: [observe(onCall), keepDeadline],
      readMaxBytes: config.bodyBytesMax,
      maxTimeoutMs: BODY_TIMEOUT_MS_MAX,
      shutdownSignal: shutdown.signal,
      jsonOptions,
    },
    routes: routes(given.served),
    raw: rawMethods(given.served),
    direct:
      ingest === undefined
        ? undefined
        : new DirectBatches({ ...common, ingest, calls, onCall, timeoutMsMax: BODY_TIMEOUT_MS_MAX }),
    calls,
    pages: given.pages,
    onFailure: (reason, path) => events.requestFailed(path, reason),
  });
  const tls = config.tls === undefined ? undefined : await readTlsFiles(config.tls);
  const listener = new Listener({ ...config, onRequest, tls });
  if (config.tls !== undefined) given.started.add(keepSecured(listener, config.tls, tls?.hash ?? '', events));
  events.gauge('meterd_calls_open', 'Calls under way, streams among them', () => calls.count);
  events.gauge('meterd_connections_open', 'Open connections', () => listener.connectionCount);
  events.gauge('meterd_bodies_bytes', 'What the bodies of calls under way hold', () => limits.bodyBytes);
  given.started.add(async () => {
    // Live streams have no end of their own; every other call is let run.
    shutdown.abort(new ConnectError('meterd stops', Code.Unavailable));
    await listener.stop(config.stopTimeoutMs / 2);
    calls.stop();
  });
  return listener;
}

function showMemory(events: Events): void {
  for (const kind of ['rss', 'heapUsed', 'external', 'arrayBuffers'] as const) {
    events.gauge(`meterd_memory_${kind.toLowerCase()}_bytes`, `Memory as Node counts it: ${kind}`, () => {
      return process.memoryUsage()[kind];
    });
  }
}

function showEventLoop(events: Events, started: Started): void {
  const delay = monitorEventLoopDelay({ resolution: EVENT_LOOP_LOOK_MS });
  delay.enable();
  started.add(() => void delay.disable());
  events.gauge(
    'meterd_event_loop_blocked_ms',
    'Longest time without a turn of the event loop since metrics were read',
    () => {
      const blockedMs = delay.max / 1e6;
      delay.reset();
      return blockedMs;
    },
  );
}

/** Looks for another certificate again and again. @returns what ends that */
function keepSecured(listener: Listener, paths: TlsPaths, hash: string, events: Events): () => Promise<void> {
  let current = hash;
  const reload = async (): Promise<void> => {
    const tls = await readTlsFiles(paths);
    if (tls.hash === current) return;
    listener.secureWith(tls);
    current = tls.hash;
    events.certificateReplaced();
  };
  const reloading = repeat(reload, TLS_RELOAD_MS, (reason) => events.certificateNotRead(reason));
  return () => reloading.stop();
}

function collectorTrouble(collector: Collector | undefined): string[] {
  const state = collector?.stats().state ?? 'open';
  return state === 'open' ? [] : [`the spool is ${state}`];
}

/** ClickHouse being away keeps no window from being taken, and so no host from being sent here. */
function collectorNotes(collector: Collector | undefined): string[] {
  const awayMs = collector?.clickHouse().awayMs ?? 0;
  if (awayMs === 0) return [];
  return [`ClickHouse has been away for ${Math.ceil(awayMs / 1000)} s; windows are taken and wait in the spool`];
}

function tellSpoolEvent(events: Events, event: SpoolEvent): void {
  switch (event.type) {
    case 'group-synced':
      events.groupSynced(event.durationMs);
      return;
    case 'recovered':
      events.spoolOpened(event);
      return;
    case 'poisoned':
    case 'failed':
    case 'upkeep-failed':
      events.spoolTrouble(event.type, { ...event, error: messageOf(event.error) });
      return;
    case 'refused':
    case 'quarantined':
      events.spoolTrouble(event.type, event);
  }
}
