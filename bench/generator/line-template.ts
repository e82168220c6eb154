import type { WindowShape } from './fleet.ts';
import { type Bytes, buildTemplate, type Places, PLACES, type Template, VM_ID, writeHost } from './template.ts';

/** Unix seconds have ten digits until 2286, so they can be replaced in place. */
const SECONDS_DIGITS = 10;
const SECONDS_ROOM = '0'.repeat(SECONDS_DIGITS);

/** The batch's windows in InfluxDB's line protocol, without host and time: the same thirteen values as in a request. */
export function lineTemplate(shapes: readonly WindowShape[]): Template {
  return buildTemplate(shapes, writeLine);
}

/** As `fillRequest`, for lines. */
export function fillLines(
  template: Template,
  target: Buffer,
  use: { readonly host: number; readonly firstMinute: number },
): Buffer {
  const { bytes, places, minutes } = template;
  bytes.copy(target);
  writeHost(target, places, use.host);
  for (let window = 0; window < minutes.length; window++) {
    const start = (use.firstMinute + (minutes[window] ?? 0)) * 60;
    const at = window * PLACES;
    target.write(String(start + 60), places[at + 2] ?? 0, 'latin1');
    target.write(String(start + 60), places[at + 3] ?? 0, 'latin1');
  }
  return target.subarray(0, bytes.length);
}

function writeLine(bytes: Bytes, { vm, reading }: WindowShape): Places {
  const hostAt = bytes.text(`usage,vm=`) + 'usage,vm='.length + VM_ID.hostAt;
  bytes.text(`${VM_ID.of(vm.suffix)},customer=${vm.customerId},region=${vm.region} `);
  const counts = [
    `cpu_time_nanos=${reading.cpuTimeNanos}i`,
    `cpu_utilization_pct=${reading.cpuUtilizationPct}`,
    `cpu_cores_used=${reading.cpuCoresUsed}`,
    `memory_bytes_used=${reading.memoryBytesUsed}i`,
    `memory_bytes_peak=${reading.memoryBytesPeak}i`,
    `memory_byte_seconds=${reading.memoryByteSeconds}i`,
    `disk_read_bytes=${reading.diskReadBytes}i`,
    `disk_write_bytes=${reading.diskWriteBytes}i`,
    `disk_read_ops=${reading.diskReadOps}i`,
    `disk_write_ops=${reading.diskWriteOps}i`,
    `network_rx_bytes=${reading.networkRxBytes}i`,
    `network_tx_bytes=${reading.networkTxBytes}i`,
  ];
  bytes.text(`${counts.join(',')},sampled_at=`);
  const sampledAt = bytes.text(SECONDS_ROOM);
  bytes.text(`${String(reading.sampledAfterNanos).padStart(9, '0')}i `);
  const endAt = bytes.text(SECONDS_ROOM);
  bytes.text('000000000\n');
  return { hostAt, startAt: endAt, endAt, sampledAt };
}
