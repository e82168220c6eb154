import { z } from 'zod';

/** What a process does. A process may have any of them. */
export type Role = 'collector' | 'query' | 'jobs';

/** Everything that can be set, typed and with units. One variable each; the README has the table. */
export interface Config {
  readonly dataDir: string;
  /** Of the keys that secrets are encrypted under; `undefined`: in the data folder. */
  readonly secretKeysPath: string | undefined;
  /** Of the socket of a KMS plugin that has the keys; `undefined`: the file has them. */
  readonly secretKmsPath: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly roles: ReadonlySet<Role>;
  /** `undefined`: the embedded engine. */
  readonly clickhouseUrl: string | undefined;
  /** `undefined`: the embedded engine. */
  readonly databaseUrl: string | undefined;
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  readonly bodyBytesMax: number;
  readonly batchWindowsMax: number;
  readonly lateDaysMax: number;
  readonly aheadSecondsMax: number;
  readonly dedupKeysMax: number;
  readonly spoolQuotaBytes: number;
  readonly liveSubscribersMax: number;
  readonly connectionsMax: number;
  readonly streamsPerConnectionMax: number;
  /** For a new connection's first call, for the headers of each, and for its body. */
  readonly receiveTimeoutMs: number;
  /** For a client to read more of its answer. */
  readonly sendTimeoutMs: number;
  /** For a call that came without a deadline. */
  readonly workTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Of all calls under way. */
  readonly bodyBytesAtOnceMax: number;
  readonly callsPerSecondMax: number;
  /** Of one address, without a key. */
  readonly publicCallsPerSecondMax: number;
  readonly bodyBytesPerSecondMax: number;
  readonly callsAtOnceMax: number;
  /** `undefined`: in clear text. */
  readonly tls: TlsPaths | undefined;
  readonly rollupSchedule: string;
  readonly invoiceSchedule: string;
  readonly invoiceGraceMs: number;
  readonly invoicePrefix: string;
  readonly creditNotePrefix: string;
  /** How long windows are kept. */
  readonly rawDays: number;
  /** How long hours are kept. */
  readonly hoursDays: number;
  readonly stopTimeoutMs: number;
}

/** Files in PEM. */
export interface TlsPaths {
  readonly certPath: string;
  readonly keyPath: string;
  /** Of those who sign hosts' certificates; `undefined`: hosts show none. */
  readonly clientCaPath: string | undefined;
}

/** One variable that cannot be used. */
export interface ConfigProblem {
  readonly variable: string;
  readonly value: string;
  readonly allowed: string;
}

const MIB = 1024 * 1024;
const ROLES = ['collector', 'query', 'jobs'] as const;
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

function whole(fallback: number, min: number, max: number) {
  const schema = z.string().regex(/^\d+$/).transform(Number).pipe(z.number().min(min).max(max));
  return schema.default(fallback).meta({ allowed: `a whole number from ${min} to ${max}` });
}

function text(fallback: string, pattern: RegExp, allowed: string) {
  return z.string().regex(pattern).default(fallback).meta({ allowed });
}

function url(...protocols: string[]) {
  const fits = (value: string): boolean => URL.canParse(value) && protocols.includes(new URL(value).protocol);
  return z
    .string()
    .refine(fits)
    .optional()
    .meta({ allowed: `a URL that starts with ${protocols.join('// or ')}//` });
}

function roles() {
  const list = z
    .string()
    .transform((value) => value.split(',').map((role) => role.trim()))
    .pipe(z.array(z.enum(ROLES)))
    .transform((values): ReadonlySet<Role> => new Set(values));
  return list.prefault(ROLES.join(',')).meta({ allowed: `one or more of ${ROLES.join(', ')}, with commas between` });
}

function listen() {
  const schema = z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/)
    .transform((value) => {
      const colon = value.lastIndexOf(':');
      return { host: value.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(value.slice(colon + 1)) };
    })
    .refine(({ port }) => port <= 65_535);
  const allowed = 'HOST:PORT with a port from 0 to 65535, where 0 is any free one';
  return schema.prefault('127.0.0.1:8080').meta({ allowed });
}

/** What Linux has room for in the address of a Unix socket, but for the byte that ends it (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;

/** Not in the abstract namespace (`@name`): whoever is on the machine could listen there first, and would be given data keys. */
function socket() {
  const schema = z
    .string()
    .regex(/^(unix:\/\/)?\/[^@]/)
    .transform((value) => value.replace(/^unix:\/\//, ''))
    .refine((path) => Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX);
  const allowed = `the path of a socket from the root, of at most ${SOCKET_PATH_BYTES_MAX} bytes, with or without unix:// before it`;
  return schema.optional().meta({ allowed });
}

const CRON = /^\S+( \S+){4,5}$/;

/** Each variable with its fallback; `allowed` completes "must be …". */
const VARIABLES = z.object({
  METERD_DATA_DIR: text('./data', /./, 'a folder'),
  METERD_SECRET_KEYS_FILE: z.string().optional().meta({ allowed: 'a file' }),
  METERD_SECRET_KMS: socket(),
  METERD_LISTEN: listen(),
  METERD_ROLES: roles(),
  CLICKHOUSE_URL: url('http:', 'https:'),
  DATABASE_URL: url('postgres:', 'postgresql:'),
  METERD_LOG_LEVEL: z
    .enum(LOG_LEVELS)
    .default('info')
    .meta({ allowed: `one of ${LOG_LEVELS.join(', ')}` }),
  METERD_BODY_KIB_MAX: whole(1024, 16, 65_536),
  METERD_BATCH_WINDOWS_MAX: whole(10_000, 1, 100_000),
  METERD_LATE_DAYS_MAX: whole(35, 0, 3650),
  METERD_AHEAD_SECONDS_MAX: whole(300, 0, 86_400),
  METERD_DEDUP_KEYS_MAX: whole(250_000, 1, 50_000_000),
  METERD_SPOOL_QUOTA_MIB: whole(4096, 512, 16_777_216),
  METERD_LIVE_SUBSCRIBERS_MAX: whole(1000, 1, 100_000),
  METERD_CONNECTIONS_MAX: whole(4096, 1, 1_000_000),
  METERD_STREAMS_PER_CONNECTION_MAX: whole(256, 1, 100_000),
  METERD_RECEIVE_SECONDS_MAX: whole(10, 1, 600),
  METERD_SEND_SECONDS_MAX: whole(10, 1, 600),
  METERD_CALL_SECONDS_MAX: whole(600, 1, 86_400),
  METERD_IDLE_SECONDS_MAX: whole(75, 1, 86_400),
  METERD_BODIES_MIB_MAX: whole(64, 1, 65_536),
  METERD_PUBLIC_CALLS_PER_SECOND_MAX: whole(100, 1, 1_000_000),
  METERD_KEY_CALLS_PER_SECOND_MAX: whole(5000, 1, 1_000_000),
  METERD_KEY_KIB_PER_SECOND_MAX: whole(131_072, 1, 16_777_216),
  METERD_KEY_CALLS_AT_ONCE_MAX: whole(2048, 1, 1_000_000),
  METERD_TLS_CERT: z.string().optional().meta({ allowed: 'a file' }),
  METERD_TLS_KEY: z.string().optional().meta({ allowed: 'a file' }),
  METERD_TLS_CLIENT_CA: z.string().optional().meta({ allowed: 'a file' }),
  METERD_ROLLUP_SCHEDULE: text('* * * * *', CRON, 'a cron expression of five or six fields'),
  METERD_INVOICE_SCHEDULE: text('17 * * * *', CRON, 'a cron expression of five or six fields'),
  METERD_INVOICE_GRACE_HOURS: whole(24, 0, 2160),
  METERD_INVOICE_PREFIX: text('INV-', /^[A-Za-z0-9/-]{1,20}$/, '1 to 20 letters, digits, dashes or slashes'),
  METERD_CREDIT_NOTE_PREFIX: text('CN-', /^[A-Za-z0-9/-]{1,20}$/, '1 to 20 letters, digits, dashes or slashes'),
  METERD_RAW_DAYS: whole(400, 35, 36_500),
  // Adjustments look back 400 days: an hour that is gone by then would look like one without usage.
  METERD_HOURS_DAYS: whole(2557, 432, 36_500),
  METERD_STOP_SECONDS_MAX: whole(10, 1, 600),
});

/** The names that `readConfig` knows. */
export const VARIABLE_NAMES: readonly string[] = Object.keys(VARIABLES.shape);

/**
 * Environment → typed configuration, or every problem at once. An empty variable counts as not set; one that starts
 * with `METERD_` and is not known is a problem, since it is most likely a misspelt one.
 */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): Config | ConfigProblem[] {
  const set = Object.entries(environment).filter(([, value]) => value !== undefined && value !== '');
  const problems: ConfigProblem[] = [];
  for (const [variable] of set) {
    if (variable.startsWith('METERD_') && !VARIABLE_NAMES.includes(variable)) {
      // Whatever has no name here may be a secret: METERD_KEY, which commands are given, is one.
      problems.push({ variable, value: '…', allowed: `one of the known names: ${VARIABLE_NAMES.join(', ')}` });
    }
  }
  const parsed = VARIABLES.safeParse(Object.fromEntries(set));
  if (parsed.success) {
    problems.push(...keptTooShort(parsed.data), ...halfSecured(parsed.data));
    problems.push(...sharedSeries(parsed.data), ...keysTwice(parsed.data));
    return problems.length > 0 ? problems : toConfig(parsed.data);
  }
  for (const variable of new Set(parsed.error.issues.map((issue) => String(issue.path[0])))) {
    problems.push({ variable, value: hidePassword(environment[variable] ?? ''), allowed: allowedFor(variable) });
  }
  return problems;
}

/** An hour is computed anew from its windows when a late one comes, so they must be there as long as one may come. */
function keptTooShort(values: z.output<typeof VARIABLES>): ConfigProblem[] {
  const { METERD_RAW_DAYS: days, METERD_LATE_DAYS_MAX: lateDays } = values;
  if (days >= lateDays) return [];
  return [{ variable: 'METERD_RAW_DAYS', value: String(days), allowed: `at least METERD_LATE_DAYS_MAX, ${lateDays}` }];
}

/** Numbers are counted by their prefix: with one for both, each series would have gaps where the other took a number. */
function sharedSeries(values: z.output<typeof VARIABLES>): ConfigProblem[] {
  const { METERD_INVOICE_PREFIX: invoices, METERD_CREDIT_NOTE_PREFIX: creditNotes } = values;
  if (invoices !== creditNotes) return [];
  return [{ variable: 'METERD_CREDIT_NOTE_PREFIX', value: creditNotes, allowed: 'another than METERD_INVOICE_PREFIX' }];
}

/** A port that is meant to be secured is never served in clear text for want of a file. */
function halfSecured(values: z.output<typeof VARIABLES>): ConfigProblem[] {
  const { METERD_TLS_CERT: cert, METERD_TLS_KEY: key, METERD_TLS_CLIENT_CA: ca } = values;
  if ((cert === undefined) === (key === undefined) && (ca === undefined || cert !== undefined)) return [];
  const variable = cert === undefined ? 'METERD_TLS_CERT' : 'METERD_TLS_KEY';
  const allowed = 'a file, as others of METERD_TLS_CERT, METERD_TLS_KEY and METERD_TLS_CLIENT_CA are set';
  return [{ variable, value: '', allowed }];
}

/** Which of the two has the newest key would be said nowhere. */
function keysTwice(values: z.output<typeof VARIABLES>): ConfigProblem[] {
  const { METERD_SECRET_KEYS_FILE: value, METERD_SECRET_KMS: kms } = values;
  if (value === undefined || kms === undefined) return [];
  return [{ variable: 'METERD_SECRET_KEYS_FILE', value, allowed: 'left out, as METERD_SECRET_KMS is set' }];
}

function tlsPaths(values: z.output<typeof VARIABLES>): TlsPaths | undefined {
  const { METERD_TLS_CERT: certPath, METERD_TLS_KEY: keyPath, METERD_TLS_CLIENT_CA: clientCaPath } = values;
  return certPath === undefined || keyPath === undefined ? undefined : { certPath, keyPath, clientCaPath };
}

function allowedFor(variable: string): string {
  const schema = Object.entries(VARIABLES.shape).find(([name]) => name === variable)?.[1];
  return String(schema?.meta()?.['allowed']);
}

function toConfig(values: z.output<typeof VARIABLES>): Config {
  return {
    dataDir: values.METERD_DATA_DIR,
    secretKeysPath: values.METERD_SECRET_KEYS_FILE,
    secretKmsPath: values.METERD_SECRET_KMS,
    host: values.METERD_LISTEN.host,
    port: values.METERD_LISTEN.port,
    roles: values.METERD_ROLES,
    clickhouseUrl: values.CLICKHOUSE_URL,
    databaseUrl: values.DATABASE_URL,
    logLevel: values.METERD_LOG_LEVEL,
    bodyBytesMax: values.METERD_BODY_KIB_MAX * 1024,
    batchWindowsMax: values.METERD_BATCH_WINDOWS_MAX,
    lateDaysMax: values.METERD_LATE_DAYS_MAX,
    aheadSecondsMax: values.METERD_AHEAD_SECONDS_MAX,
    dedupKeysMax: values.METERD_DEDUP_KEYS_MAX,
    spoolQuotaBytes: values.METERD_SPOOL_QUOTA_MIB * MIB,
    liveSubscribersMax: values.METERD_LIVE_SUBSCRIBERS_MAX,
    connectionsMax: values.METERD_CONNECTIONS_MAX,
    streamsPerConnectionMax: values.METERD_STREAMS_PER_CONNECTION_MAX,
    receiveTimeoutMs: values.METERD_RECEIVE_SECONDS_MAX * 1000,
    sendTimeoutMs: values.METERD_SEND_SECONDS_MAX * 1000,
    workTimeoutMs: values.METERD_CALL_SECONDS_MAX * 1000,
    idleTimeoutMs: values.METERD_IDLE_SECONDS_MAX * 1000,
    bodyBytesAtOnceMax: values.METERD_BODIES_MIB_MAX * MIB,
    publicCallsPerSecondMax: values.METERD_PUBLIC_CALLS_PER_SECOND_MAX,
    callsPerSecondMax: values.METERD_KEY_CALLS_PER_SECOND_MAX,
    bodyBytesPerSecondMax: values.METERD_KEY_KIB_PER_SECOND_MAX * 1024,
    callsAtOnceMax: values.METERD_KEY_CALLS_AT_ONCE_MAX,
    tls: tlsPaths(values),
    rollupSchedule: values.METERD_ROLLUP_SCHEDULE,
    invoiceSchedule: values.METERD_INVOICE_SCHEDULE,
    invoiceGraceMs: values.METERD_INVOICE_GRACE_HOURS * 3_600_000,
    invoicePrefix: values.METERD_INVOICE_PREFIX,
    creditNotePrefix: values.METERD_CREDIT_NOTE_PREFIX,
    rawDays: values.METERD_RAW_DAYS,
    hoursDays: values.METERD_HOURS_DAYS,
    stopTimeoutMs: values.METERD_STOP_SECONDS_MAX * 1000,
  };
}

/** A URL in a message must not spread the password in it. */
function hidePassword(value: string): string {
  return value.replace(/(:\/\/[^:@/]*:).*@/, '$1…@');
}
