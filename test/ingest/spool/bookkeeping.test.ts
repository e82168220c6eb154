import { describe, expect, it } from 'vitest';
import { AppendTimes } from '../../../src/ingest/spool/append-times.ts';
import { compareRuns } from '../../../src/ingest/spool/scan.ts';

describe('AppendTimes', () => {
  it('knows when the oldest record left was appended', () => {
    const times = new AppendTimes();
    expect(times.oldestMs).toBeUndefined();
    times.add(1, 5000);
    times.add(2, 5900);
    times.add(3, 6000);
    expect(times.oldestMs).toBe(5000);
    times.forget(1);
    expect(times.oldestMs).toBe(5000);
    times.forget(2);
    expect(times.oldestMs).toBe(6000);
    times.forget(3);
    expect(times.oldestMs).toBeUndefined();
  });

  it('never makes a record of a long backlog look younger', () => {
    const times = new AppendTimes();
    for (let record = 1; record <= 20_000; record++) times.add(record, record * 1000);
    for (let record = 0; record < 20_000; record += 500) {
      times.forget(record);
      expect(times.oldestMs).toBeLessThanOrEqual((record + 1) * 1000);
      expect(times.oldestMs).toBeGreaterThan((record + 1) * 1000 - 600_000);
    }
  });
});

describe('compareRuns', () => {
  const known = [{ startOffset: 100, endOffset: 200, firstRecord: 1, lastRecord: 10 }];

  it('tells what is gone at the start, in the middle and at the end', () => {
    const found = [
      { startOffset: 110, endOffset: 150, firstRecord: 2, lastRecord: 5 },
      { startOffset: 160, endOffset: 190, firstRecord: 7, lastRecord: 9 },
    ];
    expect(compareRuns(known, found)).toEqual({
      left: found,
      gaps: [
        { startOffset: 100, endOffset: 110, firstRecord: 1, lastRecord: 1 },
        { startOffset: 150, endOffset: 160, firstRecord: 6, lastRecord: 6 },
        { startOffset: 190, endOffset: 200, firstRecord: 10, lastRecord: 10 },
      ],
    });
  });

  it('leaves out what was never known', () => {
    const found = [{ startOffset: 50, endOffset: 300, firstRecord: -4, lastRecord: 20 }];
    expect(compareRuns(known, found)).toEqual({ left: known, gaps: [] });
  });
});
