import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HourTable } from '../../src/ingest/hour-table.ts';
import { HourWindows } from '../../src/ingest/hour-windows.ts';
import type { RowHead } from '../../src/ingest/row-scan.ts';
import { viewOf } from '../../src/ingest/window-block.ts';

function headOf(vm: number): RowHead {
  const bytes = Buffer.from(`\u0001c\u0003${100 + vm}`);
  const text = { bytes, view: viewOf(bytes) };
  const ids = { customer: { ...text, start: 0, end: 2 }, vm: { ...text, start: 2, end: bytes.length } };
  return { ...ids, hour: 1, offsetNanos: 0, lengthNanos: 1, hashLow: 0, hashHigh: 0 };
}

const entryBytes = (() => {
  const hour = new HourWindows();
  hour.begin(headOf(0));
  return hour.bytes;
})();

describe('HourTable', () => {
  it('keeps what was used last, however few hashes there are', () => {
    const uses = fc.array(fc.nat(15), { maxLength: 300 });
    fc.assert(
      fc.property(uses, fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 4 }), (vms, room, hashes) => {
        const hash = ({ vm }: RowHead) => (vm.bytes.at(-1) ?? 0) % hashes;
        const table = new HourTable(room * entryBytes, hash);
        /** Oldest first; `touchedBy` tells an hour that stayed from one that was made anew. */
        let model: number[] = [];
        for (const vm of vms) {
          const hour = table.hourOf(headOf(vm));
          expect(hour.isOf(headOf(vm))).toBe(true);
          expect(hour.touchedBy).toBe(model.includes(vm) ? vm + 1 : 0);
          hour.touchedBy = vm + 1;
          model = [...model.filter((each) => each !== vm), vm].slice(-room);
        }
      }),
    );
  });

  it('forgets an hour that alone is over the bound', () => {
    const table = new HourTable(2 * entryBytes);
    const first = table.hourOf(headOf(1));
    first.touchedBy = 7;
    table.grew(2 * entryBytes);
    expect(table.hourOf(headOf(1)).touchedBy).toBe(0);
  });
});
