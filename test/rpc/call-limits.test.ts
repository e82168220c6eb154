import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CallLimits } from '../../src/rpc/call-limits.ts';
import { OpenCalls } from '../../src/rpc/open-call.ts';
import { TokenBucket } from '../../src/lib/token-bucket.ts';

const NONE = { callsPerSecondMax: 1_000_000, bodyBytesPerSecondMax: 1_000_000_000, callsAtOnceMax: 1_000_000 };
const KEY = { kind: 'key', id: 'a' } as const;

function limits(perKey: Partial<typeof NONE>, bodyBytesAtOnceMax = 1_000_000) {
  const time = { nowMs: 0 };
  const options = { perKey: { ...NONE, ...perKey }, perAddress: NONE, bodyBytesAtOnceMax, nowMs: () => time.nowMs };
  return { time, limits: new CallLimits(options) };
}

describe('CallLimits', () => {
  it('bounds the calls of a second, tells when to come back, and lets in then', () => {
    const { time, limits: each } = limits({ callsPerSecondMax: 10 });
    for (let count = 0; count < 20; count++) each.admit(KEY).end();
    const refused = {
      kind: 'resource_exhausted',
      retryAfterMs: 100,
      message: 'key a makes more than 10 calls a second',
    };
    expect(() => each.admit(KEY)).toThrow(expect.objectContaining(refused));
    each.admit({ kind: 'key', id: 'b' }).end();
    time.nowMs += 100;
    each.admit(KEY).end();
    expect(() => each.admit(KEY)).toThrow();
  });

  it('lets a body go over the rate, and its key wait for it', () => {
    const { time, limits: each } = limits({ bodyBytesPerSecondMax: 1000 });
    const call = each.admit(KEY);
    call.hold(5000, 0);
    call.end();
    expect(() => each.admit(KEY)).toThrow(expect.objectContaining({ retryAfterMs: 3001 }));
    time.nowMs += 3001;
    each.admit(KEY).end();
  });

  it('bounds the calls at once, and gives back what a call held, once', () => {
    const { limits: each } = limits({ callsAtOnceMax: 2 }, 1000);
    const [first, second] = [each.admit(KEY), each.admit(KEY)];
    expect(() => each.admit(KEY)).toThrow('key a has 2 calls under way, which is the most');
    first.hold(600, 100);
    expect(() => second.hold(301, 0)).toThrow('1000 bytes');
    second.hold(300, 0);
    first.end();
    first.end();
    expect(each.bodyBytes).toBe(300);
    each.admit(KEY);
    expect(() => each.admit(KEY)).toThrow();
    second.end();
    expect(each.bodyBytes).toBe(0);
  });

  it('counts no call whose client left while its key was being looked up', () => {
    const { limits: each } = limits({ callsAtOnceMax: 1 });
    const calls = new OpenCalls(each, { receiveTimeoutMs: 60_000, sendTimeoutMs: 60_000, workTimeoutMs: 60_000 });
    const call = calls.enter({ address: () => '', certificate: () => undefined });
    calls.leave(call);
    call.admit(KEY);
    calls.stop();
    each.admit(KEY).end();
  });

  it('forgets a caller only when there is nothing to remember', () => {
    const { time, limits: each } = limits({ callsPerSecondMax: 1 });
    each.admit(KEY).end();
    each.admit(KEY).end();
    each.sweep();
    expect(() => each.admit(KEY)).toThrow();
    time.nowMs += 2000;
    each.sweep();
    each.admit(KEY).end();
  });
});

describe('TokenBucket', () => {
  it('never lets more through than its burst and its rate, and always after the wait that it told', () => {
    const steps = fc.array(fc.record({ amount: fc.integer({ min: 1, max: 50 }), passMs: fc.nat(500) }), {
      maxLength: 100,
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), steps, (perSecond, each) => {
        const bucket = new TokenBucket(perSecond, perSecond * 2, 0);
        let [nowMs, spent, largest] = [0, 0, 0];
        for (const { amount, passMs } of each) {
          nowMs += passMs;
          const waitMs = bucket.waitMs(nowMs);
          if (waitMs > 0) {
            nowMs += waitMs;
            expect(bucket.waitMs(nowMs)).toBe(0);
          }
          bucket.spend(amount);
          spent += amount;
          largest = Math.max(largest, amount);
        }
        expect(spent).toBeLessThanOrEqual(perSecond * 2 + (perSecond * nowMs) / 1000 + largest);
      }),
    );
  });
});
