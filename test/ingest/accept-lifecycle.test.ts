import { describe, expect, it } from 'vitest';
import { Lifecycle, type VmNotice } from '../../src/ingest/accept-lifecycle.ts';
import { readEvidence } from '../../src/ingest/evidence-rows.ts';
import { decodeRecord } from '../../src/ingest/record.ts';
import type { Sender } from '../../src/ingest/window.ts';
import { anySender, NOW_MS } from './a-window.ts';
import { HeldSpool, isSettled } from './held-spool.ts';

const NOW_NANOS = BigInt(NOW_MS) * 1_000_000n;
const MINUTE_NANOS = 60_000_000_000n;
const HOUR_NANOS = 60n * MINUTE_NANOS;
const DAY_NANOS = 24n * HOUR_NANOS;
const NOW_HOUR = NOW_MS / 1000;

function lifecycleOn(spool: HeldSpool) {
  const clock = { nowMs: () => NOW_MS, nowNanos: () => NOW_NANOS };
  return new Lifecycle({ clock, spool, lateDaysMax: 35, rawDays: 4000, aheadSecondsMax: 300 });
}

/** What a notice leaves in the spool. */
function noted(notice: VmNotice, sender: Sender = anySender) {
  const spool = new HeldSpool();
  const done = lifecycleOn(spool).notice(notice, { sender, region: 'eu' });
  const { touched, evidence } = decodeRecord(spool.payloads[0] ?? Buffer.alloc(0));
  const events = evidence.flatMap(({ table, rows }) => (table === 'vm_events' ? [...readEvidence(table, rows)] : []));
  return { spool, done, touched, events };
}

const started: VmNotice = {
  kind: 'started',
  vmId: 'vm-1',
  customerId: 'acme',
  startTimeNanos: NOW_NANOS - 30n * MINUTE_NANOS,
};

describe('a notice', () => {
  it('is answered only once it is on disk', async () => {
    const { spool, done, events, touched } = noted(started);
    expect(await isSettled(done)).toBe(false);
    spool.syncs[0]?.resolve();
    await done;
    const at = NOW_NANOS - 30n * MINUTE_NANOS;
    expect(events).toEqual([
      {
        vm_id: 'vm-1',
        at,
        kind: 1,
        customer_id: 'acme',
        region: 'eu',
        until: at,
        instance_id: '',
        credential_id: anySender.credentialId,
        precedence: 2n ** 63n - 1n - NOW_NANOS,
      },
    ]);
    expect(touched).toEqual([-2, -1, 0].map((hour) => ['acme', NOW_HOUR + hour * 3600]));
  });

  it('names no customer where the host does not, unless its key is for one alone', () => {
    const stopped: VmNotice = { kind: 'stopped', vmId: 'vm-1', stopTimeNanos: NOW_NANOS };
    const of = (...customerIds: string[]) => noted(stopped, { ...anySender, customerIds: new Set(customerIds) });
    expect(noted(stopped).events).toMatchObject([{ kind: 2, customer_id: '', at: NOW_NANOS, until: NOW_NANOS }]);
    expect(noted(stopped).touched).toContainEqual(['', NOW_HOUR]);
    expect(of('a').events).toMatchObject([{ customer_id: 'a' }]);
    expect(of('a').touched).toContainEqual(['a', NOW_HOUR]);
    expect(of('a', 'b').events).toMatchObject([{ customer_id: '' }]);
  });

  it('brings with it whose VMs its key may tell of, once that key is not for everybody', async () => {
    const spool = new HeldSpool();
    const lifecycle = lifecycleOn(spool);
    const stop = (sender: Sender) => {
      const stopped = { kind: 'stopped', vmId: 'vm-1', stopTimeNanos: NOW_NANOS } as const;
      return lifecycle.notice(stopped, { sender, region: 'eu' });
    };
    const scopes = () =>
      spool.payloads.map((payload) =>
        decodeRecord(payload).evidence.flatMap(({ table, rows }) =>
          table === 'key_customers' ? [...readEvidence(table, rows)].map((row) => row.customer_id) : [],
        ),
      );
    const scoped: Sender = { ...anySender, customerIds: new Set(['a', 'b']) };
    // The second comes before the first is on disk, so it cannot lean on it.
    const both = [stop(scoped), lifecycle.heartbeat('', ['vm-1'], { sender: scoped, region: 'eu' })];
    expect(scopes()).toEqual([
      ['', 'a', 'b'],
      ['', 'a', 'b'],
    ]);
    for (const sync of spool.syncs) sync.resolve();
    await Promise.all(both);
    void stop(scoped);
    void stop({ ...scoped, credentialId: 'another' });
    void stop({ ...anySender, credentialId: 'everybody' });
    expect(scopes().slice(2)).toEqual([[], ['', 'a', 'b'], []]);
  });

  it('of a possible gap touches all of it', () => {
    const gap = { lastSentNanos: NOW_NANOS - 5n * HOUR_NANOS, resumeTimeNanos: NOW_NANOS - 2n * HOUR_NANOS };
    const { events, touched } = noted({ kind: 'possible_gap', vmId: 'vm-1', ...gap });
    expect(events).toMatchObject([{ kind: 3, at: gap.lastSentNanos, until: gap.resumeTimeNanos }]);
    expect(touched.map(([, hour]) => (hour - NOW_HOUR) / 3600)).toEqual([-6, -5, -4, -3, -2, -1, 0]);
  });

  const scoped: Sender = { ...anySender, customerIds: new Set(['acme']) };
  const gap = (lastSentNanos: bigint, resumeTimeNanos: bigint): VmNotice => {
    return { kind: 'possible_gap', vmId: 'vm-1', lastSentNanos, resumeTimeNanos };
  };
  const wrong: [string, VmNotice, Sender, string, string][] = [
    ['no VM', { ...started, vmId: '' }, anySender, 'invalid_argument', 'vm_id'],
    ['no customer', { ...started, customerId: '' }, anySender, 'invalid_argument', 'customer_id'],
    [
      'the customer of none',
      { ...started, customerId: 'default-customer' },
      anySender,
      'invalid_argument',
      'customer_id',
    ],
    ['a customer that is not its', { ...started, customerId: 'other' }, scoped, 'permission_denied', 'customer_id'],
    ['a time that was never set', { ...started, startTimeNanos: 0n }, anySender, 'invalid_argument', 'start_time'],
    ['a time before 1970', { ...started, startTimeNanos: -1n }, anySender, 'invalid_argument', 'start_time'],
    [
      'a time too late',
      { kind: 'stopped', vmId: 'v', stopTimeNanos: NOW_NANOS - 36n * DAY_NANOS },
      anySender,
      'out_of_range',
      'stop_time',
    ],
    [
      'a time ahead',
      { kind: 'stopped', vmId: 'v', stopTimeNanos: NOW_NANOS + 6n * MINUTE_NANOS },
      anySender,
      'out_of_range',
      'stop_time',
    ],
    ['a gap that ends before it starts', gap(NOW_NANOS, NOW_NANOS), anySender, 'invalid_argument', 'resume_time'],
    [
      'a gap of months',
      gap(NOW_NANOS - 300n * DAY_NANOS, NOW_NANOS),
      { ...anySender, backfill: true },
      'out_of_range',
      'resume_time',
    ],
  ];
  it.each(wrong)('is refused with %s', async (_, notice, sender, kind, field) => {
    const spool = new HeldSpool();
    const refused = lifecycleOn(spool).notice(notice, { sender, region: 'eu' });
    await expect(refused).rejects.toMatchObject({ kind, field });
    expect(spool.payloads).toEqual([]);
  });
});

describe('a heartbeat', () => {
  it('is stored with the VMs that run', async () => {
    const spool = new HeldSpool();
    const done = lifecycleOn(spool).heartbeat('metald-1', ['a', 'b'], { sender: anySender, region: 'eu' });
    expect(await isSettled(done)).toBe(false);
    spool.syncs[0]?.resolve();
    await done;
    const { touched, evidence } = decodeRecord(spool.payloads[0] ?? Buffer.alloc(0));
    expect(evidence.map(({ table, rows }) => [table, ...readEvidence(table, rows)])).toEqual([
      [
        'heartbeats',
        {
          received_at: NOW_NANOS,
          credential_id: anySender.credentialId,
          instance_id: 'metald-1',
          region: 'eu',
          vm_ids: ['a', 'b'],
        },
      ],
    ]);
    expect(touched).toEqual([]);
  });

  it('is refused with an id that is none, or more VMs than a host can have', async () => {
    const host = { sender: anySender, region: 'eu' };
    const beat = (vmIds: string[], instanceId = '') => lifecycleOn(new HeldSpool()).heartbeat(instanceId, vmIds, host);
    await expect(beat(['a', ''])).rejects.toMatchObject({ field: 'active_vms' });
    await expect(beat([], 'a\nb')).rejects.toMatchObject({ field: 'instance_id' });
    await expect(beat(Array.from({ length: 10_001 }, () => 'a'))).rejects.toThrow('10001 VMs in one heartbeat');
  });
});
