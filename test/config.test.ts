import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Config, type ConfigProblem, readConfig, VARIABLE_NAMES } from '../src/config.ts';

function good(environment: Record<string, string>): Config {
  const config = readConfig(environment);
  if (Array.isArray(config)) throw new Error(JSON.stringify(config));
  return config;
}

function problemsOf(environment: Record<string, string>): ConfigProblem[] {
  const config = readConfig(environment);
  if (!Array.isArray(config)) throw new Error('the configuration was taken');
  return config;
}

describe('readConfig', () => {
  it('runs everything on loopback with the embedded engines where nothing is set', () => {
    expect(good({})).toMatchObject({ host: '127.0.0.1', port: 8080, clickhouseUrl: undefined, databaseUrl: undefined });
    expect([...good({}).roles]).toEqual(['collector', 'query', 'jobs']);
  });

  it('reads units, lists and addresses', () => {
    const config = good({
      METERD_LISTEN: '[::]:0',
      METERD_ROLES: 'collector, jobs',
      METERD_BODY_KIB_MAX: '2048',
      METERD_INVOICE_GRACE_HOURS: '48',
      METERD_SPOOL_QUOTA_MIB: '1024',
    });
    expect(config).toMatchObject({ host: '::', port: 0, bodyBytesMax: 2_097_152, invoiceGraceMs: 172_800_000 });
    expect(config.spoolQuotaBytes).toBe(1_073_741_824);
    expect([...config.roles]).toEqual(['collector', 'jobs']);
  });

  it('takes an empty variable for one that is not set', () => {
    expect(good({ METERD_DATA_DIR: '' }).dataDir).toBe('./data');
  });

  it('tells every problem at once, with the variable, the value and what is allowed', () => {
    const problems = problemsOf({
      METERD_LISTEN: '127.0.0.1:65536',
      METERD_ROLES: 'collector,billing',
      METERD_BODY_KIB_MAX: '1.5',
      METERD_LATE_DAYS_MAX: '-1',
      CLICKHOUSE_URL: 'tcp://x',
      METERD_LISTN: 'x',
      METERD_ROLLUP_SCHEDULE: 'every minute or so',
    });
    expect(problems.map(({ variable, value }) => [variable, value])).toEqual([
      ['METERD_LISTN', '…'],
      ['METERD_LISTEN', '127.0.0.1:65536'],
      ['METERD_ROLES', 'collector,billing'],
      ['CLICKHOUSE_URL', 'tcp://x'],
      ['METERD_BODY_KIB_MAX', '1.5'],
      ['METERD_LATE_DAYS_MAX', '-1'],
      ['METERD_ROLLUP_SCHEDULE', 'every minute or so'],
    ]);
    expect(problems.every(({ allowed }) => allowed.length > 5)).toBe(true);
    expect(problems.find(({ variable }) => variable === 'METERD_BODY_KIB_MAX')?.allowed).toContain('from 16 to 65536');
  });

  it('keeps windows at least as long as one may come late', () => {
    expect(good({ METERD_LATE_DAYS_MAX: '400' })).toMatchObject({ rawDays: 400, hoursDays: 2557 });
    const problems = problemsOf({ METERD_LATE_DAYS_MAX: '401' });
    expect(problems).toMatchObject([
      { variable: 'METERD_RAW_DAYS', value: '400', allowed: expect.stringContaining('401') },
    ]);
  });

  it('serves TLS with a certificate and a key, and never half of it', () => {
    const [cert, key, ca] = [{ METERD_TLS_CERT: 'c' }, { METERD_TLS_KEY: 'k' }, { METERD_TLS_CLIENT_CA: 'a' }];
    expect(good({}).tls).toBeUndefined();
    expect(good({ ...cert, ...key }).tls).toEqual({ certPath: 'c', keyPath: 'k', clientCaPath: undefined });
    expect(good({ ...cert, ...key, ...ca }).tls?.clientCaPath).toBe('a');
    for (const half of [cert, key, ca, { ...key, ...ca }, { ...cert, ...ca }]) {
      expect(problemsOf(half)).toMatchObject([{ variable: expect.stringMatching(/^METERD_TLS_(CERT|KEY)$/) }]);
    }
  });

  it('has wrapping keys in a file or in a KMS, whose socket may be written as Kubernetes does', () => {
    expect(good({}).secretKmsPath).toBeUndefined();
    expect(good({ METERD_SECRET_KMS: '/run/kms/a.sock' }).secretKmsPath).toBe('/run/kms/a.sock');
    expect(good({ METERD_SECRET_KMS: 'unix:///run/kms/a.sock' }).secretKmsPath).toBe('/run/kms/a.sock');
    expect(good({ METERD_SECRET_KMS: `unix:///${'x'.repeat(106)}` }).secretKmsPath).toHaveLength(107);
    const wrong = ['kms.sock', 'unix://kms.sock', 'unix:///@kms', '/', 'http:///run/kms.sock', `/${'x'.repeat(107)}`];
    for (const value of wrong) {
      expect(problemsOf({ METERD_SECRET_KMS: value })).toMatchObject([{ variable: 'METERD_SECRET_KMS', value }]);
    }
    expect(problemsOf({ METERD_SECRET_KMS: '/kms.sock', METERD_SECRET_KEYS_FILE: '/keys' })).toEqual([
      { variable: 'METERD_SECRET_KEYS_FILE', value: '/keys', allowed: 'left out, as METERD_SECRET_KMS is set' },
    ]);
  });

  it('numbers invoices and credit notes in a series each', () => {
    const prefixes = { METERD_INVOICE_PREFIX: '2026/', METERD_CREDIT_NOTE_PREFIX: '2026/' };
    expect(problemsOf(prefixes)).toEqual([
      { variable: 'METERD_CREDIT_NOTE_PREFIX', value: '2026/', allowed: 'another than METERD_INVOICE_PREFIX' },
    ]);
    expect(good({ ...prefixes, METERD_CREDIT_NOTE_PREFIX: '2026/C' })).toMatchObject({ creditNotePrefix: '2026/C' });
  });

  it('never shows a password', () => {
    for (const password of ['hunter2', 'a@hunter2', 'a:hunter2', 'a/hunter2']) {
      const [problem] = problemsOf({ DATABASE_URL: `mysql://user:${password}@host/db` });
      expect(problem).toMatchObject({ variable: 'DATABASE_URL', value: 'mysql://user:…@host/db' });
    }
    // What the command line is given, in the same shell.
    expect(JSON.stringify(problemsOf({ METERD_KEY: 'meterd_1_hunter2' }))).not.toContain('hunter2');
  });

  it('has every variable in the table of the README', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    expect(VARIABLE_NAMES.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
  });
});
