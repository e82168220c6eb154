import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CallFrame, type CpuProfile, microsByBucket } from '../../../bench/profile/cpu-profile.ts';

const ALWAYS = { fromMicros: 0, toMicros: Number.MAX_SAFE_INTEGER };
/** A function whose name is in capitals has a bucket of that name. */
const byName = ({ functionName }: CallFrame): string | undefined =>
  functionName === functionName.toUpperCase() ? functionName : undefined;

/** Node 1 is the root; each further node is called by an earlier one. */
const profiles = fc
  .array(fc.tuple(fc.nat(), fc.constantFrom('A', 'B', 'passes', 'on')), { minLength: 1, maxLength: 12 })
  .chain((calls) => {
    const names = ['root', ...calls.map(([, name]) => name)];
    const callers = [-1, ...calls.map(([caller], i) => caller % (i + 1))];
    const sample = fc.tuple(fc.nat(names.length - 1), fc.nat(2000));
    return fc.record({ names: fc.constant(names), callers: fc.constant(callers), samples: fc.array(sample) });
  });

interface Calls {
  readonly names: readonly string[];
  readonly callers: readonly number[];
  readonly samples: readonly (readonly [node: number, micros: number])[];
}

function profileOf({ names, callers, samples }: Calls): CpuProfile {
  const childrenOf = (caller: number): number[] => callers.flatMap((each, i) => (each === caller ? [i + 1] : []));
  return {
    startTime: 1000,
    nodes: names.map((functionName, i) => ({
      id: i + 1,
      callFrame: { functionName, url: '' },
      children: childrenOf(i),
    })),
    samples: samples.map(([node]) => node + 1),
    timeDeltas: samples.map(([, micros]) => micros),
  };
}

describe('sharing out the samples of a profile', () => {
  it('gives each to the innermost function that has a bucket, and every microsecond once', () => {
    fc.assert(
      fc.property(profiles, (calls) => {
        const expected = new Map<string, number>();
        for (const [node, micros] of calls.samples) {
          let at = node;
          while (at >= 0 && byName({ functionName: calls.names[at] ?? '', url: '' }) === undefined) {
            at = calls.callers[at] ?? -1;
          }
          const bucket = at < 0 ? 'other' : (calls.names[at] ?? '');
          expected.set(bucket, (expected.get(bucket) ?? 0) + micros);
        }
        const found = microsByBucket(profileOf(calls), ALWAYS, byName);
        expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
      }),
    );
  });

  it('counts only what was sampled within the span', () => {
    const calls = {
      names: ['root', 'A'],
      callers: [-1, 0],
      samples: [1, 1, 1, 1].map((node) => [node, 10] as const),
    };
    const found = microsByBucket(profileOf(calls), { fromMicros: 1015, toMicros: 1030 }, byName);
    expect(Object.fromEntries(found)).toEqual({ A: 20 });
  });
});
