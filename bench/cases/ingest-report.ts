import type { Figure } from '../case.ts';
import type { RunResult } from '../load/messages.ts';
import { microsPerWindow, type Stored, sum } from '../stored-rate.ts';

/** What the same rows cost with nothing else running, in windows a second. */
export interface Rates {
  readonly ceiling: number;
  readonly textbook: number;
}

/** All that was measured of one meterd. */
export interface Driven {
  readonly stored: Stored;
  readonly offered: RunResult;
  readonly standing: RunResult;
  readonly smallCpuMs: number;
  readonly emptyCpuMs: number;
  readonly windows: number;
  readonly wrong: readonly string[];
}

/** What windows take up on disk, in bytes a window. */
export interface Storage {
  readonly bytesPerWindow: number;
  readonly bytesByColumn: Readonly<Record<string, number>>;
  readonly wrong: readonly string[];
}

/** The table's lines. */
export function figuresOf({ ceiling, textbook }: Rates, driven: Driven, bytesPerWindow: number): Figure[] {
  const { stored, offered, standing, smallCpuMs, emptyCpuMs } = driven;
  const { windows, usage, storedPerSecond, ackedPerSecond } = stored;
  const rate = 'windows/s';
  const mib = 1024 * 1024;
  return [
    { what: 'ceiling: raw RowBinary inserts', value: ceiling, unit: rate },
    {
      what: 'textbook: objects, JSONEachRow',
      value: textbook,
      unit: rate,
      against: { what: 'ceiling', value: ceiling },
    },
    {
      what: 'stored rate',
      value: storedPerSecond,
      unit: rate,
      against: { what: 'ceiling', value: ceiling },
      target: { atLeast: ceiling * 0.5 },
    },
    {
      what: 'stored rate',
      value: storedPerSecond,
      unit: rate,
      against: { what: 'textbook', value: textbook },
      target: { atLeast: textbook * 4 },
    },
    { what: 'acknowledged rate', value: ackedPerSecond, unit: rate, against: { what: 'ceiling', value: ceiling } },
    ...latencyFigures('ack', offered, 1),
    ...latencyFigures('ack, ClickHouse standing', standing, 2),
    {
      what: 'CPU a window, meterd',
      value: microsPerWindow(usage.cpuSeconds, windows),
      unit: 'µs',
      target: { atMost: 2.5 },
    },
    {
      what: 'CPU a window, ClickHouse',
      value: microsPerWindow(sum(stored.clickhouseCpuSeconds), windows),
      unit: 'µs',
    },
    {
      what: 'CPU a call of 10 windows',
      value: smallCpuMs * 1000,
      unit: 'µs',
      against: { what: 'empty call', value: emptyCpuMs * 1000 },
      target: { atMost: emptyCpuMs * 2500 },
    },
    {
      what: 'meterd resident, most',
      value: usage.residentBytesMax / mib,
      unit: 'MiB',
      target: { atMost: 400e6 / mib },
    },
    { what: 'meterd resident, growth', value: usage.residentBytesPerSecond / mib, unit: 'MiB/s' },
    { what: 'on disk in ClickHouse', value: bytesPerWindow, unit: 'bytes/window', target: { atMost: 40 } },
  ];
}

/** @param times what ClickHouse's standing still multiplies the bounds with */
export function latencyFigures(what: string, run: RunResult, times: number): Figure[] {
  return [
    { what: `${what} p50`, value: run.p50Ms, unit: 'ms', target: { atMost: 5 * times } },
    { what: `${what} p99`, value: run.p99Ms, unit: 'ms', target: { atMost: 25 * times } },
  ];
}

/** What `--json` has. */
export function jsonOf({ ceiling, textbook }: Rates, driven: Driven, storage: Storage): Record<string, unknown> {
  const { stored, offered, standing, smallCpuMs, emptyCpuMs } = driven;
  const { usage, storedPerSecond } = stored;
  return {
    storedWindowsPerSecond: storedPerSecond,
    ackedWindowsPerSecond: stored.ackedPerSecond,
    ceilingRowsPerSecond: ceiling,
    ratioToCeiling: storedPerSecond / ceiling,
    textbookWindowsPerSecond: textbook,
    ackP50Ms: offered.p50Ms,
    ackP99Ms: offered.p99Ms,
    ackP50MsClickHouseStanding: standing.p50Ms,
    ackP99MsClickHouseStanding: standing.p99Ms,
    meterdCpuMicrosPerWindow: microsPerWindow(usage.cpuSeconds, stored.windows),
    clickhouseCpuMicrosPerWindow: microsPerWindow(sum(stored.clickhouseCpuSeconds), stored.windows),
    loadCpuMicrosPerWindow: microsPerWindow(stored.loadCpuSeconds, stored.windows),
    smallBatchCpuMicros: smallCpuMs * 1000,
    emptyCallCpuMicros: emptyCpuMs * 1000,
    residentBytesMax: usage.residentBytesMax,
    residentBytesPerSecond: usage.residentBytesPerSecond,
    bytesPerWindow: storage.bytesPerWindow,
    bytesPerWindowByColumn: storage.bytesByColumn,
    windows: driven.windows,
    duplicates: stored.duplicates,
    refusals: stored.refusals,
    exact: driven.wrong.length === 0 && storage.wrong.length === 0,
  };
}
