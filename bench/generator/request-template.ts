import type { WindowShape } from './fleet.ts';
import { buildTemplate, Bytes, HOST_DIGITS, type Places, PLACES, type Template, VM_ID, writeHost } from './template.ts';

/** Field number and wire type as protobuf writes them: 0 varint, 1 eight bytes, 2 length and bytes. */
const tag = (field: number, wireType: number): number => (field << 3) | wireType;
/** Unix seconds from 1978 to 3058 take five bytes in base 128, so they can be replaced in place. */
const SECONDS_BYTES = 5;
/** Sequences from here to 2^35 take five bytes as well. */
const SEQUENCE_BASE = 268_435_456;
const INSTANCE = 'metald-000000';
const INSTANCE_HOST_AT = INSTANCE.length - HOST_DIGITS;

/** A `SendMetricsBatchRequest` without its host, its time and its sequence. */
export interface RequestTemplate extends Template {
  readonly instanceHostAt: number;
  readonly sequenceAt: number;
}

/** Encodes a batch once; `fillRequest` makes requests of it. */
export function requestTemplate(shapes: readonly WindowShape[]): RequestTemplate {
  const template = buildTemplate(shapes, writeWindow);
  const tail = new Bytes();
  tail.byte(tag(2, 2));
  const instanceAt = tail.ascii(INSTANCE);
  tail.byte(tag(3, 0));
  const sequenceAt = tail.skip(SECONDS_BYTES);
  return {
    ...template,
    bytes: Buffer.concat([template.bytes, tail.taken()]),
    instanceHostAt: template.bytes.length + instanceAt + INSTANCE_HOST_AT,
    sequenceAt: template.bytes.length + sequenceAt,
  };
}

/**
 * Makes one request: copies the template to the start of `target` and puts in host, time and sequence.
 * @param firstMinute Unix minutes
 * @returns the request, a view of `target`
 */
export function fillRequest(
  template: RequestTemplate,
  target: Buffer,
  use: { readonly host: number; readonly firstMinute: number; readonly job: number },
): Buffer {
  const { bytes, places, minutes } = template;
  bytes.copy(target);
  writeHost(target, places, use.host);
  target.write(String(use.host).padStart(HOST_DIGITS, '0'), template.instanceHostAt, 'latin1');
  writeFive(target, template.sequenceAt, SEQUENCE_BASE + use.job);
  for (let window = 0; window < minutes.length; window++) {
    const start = (use.firstMinute + (minutes[window] ?? 0)) * 60;
    const at = window * PLACES;
    writeFive(target, places[at + 1] ?? 0, start);
    writeFive(target, places[at + 2] ?? 0, start + 60);
    writeFive(target, places[at + 3] ?? 0, start + 60);
  }
  return target.subarray(0, bytes.length);
}

/** A number from 2^28 to 2^35 in base 128. */
function writeFive(target: Buffer, at: number, value: number): void {
  const low = value % 0x1000_0000;
  target[at] = (low & 0x7f) | 0x80;
  target[at + 1] = ((low >>> 7) & 0x7f) | 0x80;
  target[at + 2] = ((low >>> 14) & 0x7f) | 0x80;
  target[at + 3] = ((low >>> 21) & 0x7f) | 0x80;
  target[at + 4] = Math.floor(value / 0x1000_0000);
}

/** One `metrics` entry of the request; fields in the order and with the numbers of `billing/v1/metrics.proto`. */
function writeWindow(bytes: Bytes, { vm, reading }: WindowShape): Places {
  const message = new Bytes();
  const text = (field: number, value: string): number => {
    message.byte(tag(field, 2));
    return message.ascii(value);
  };
  const count = (field: number, value: number): void => {
    if (value === 0) return;
    message.varint(tag(field, 0));
    message.varint(value);
  };
  const gauge = (field: number, value: number): void => {
    message.byte(tag(field, 1));
    message.double(value);
  };
  const vmAt = text(1, VM_ID.of(vm.suffix));
  text(2, vm.customerId);
  text(3, vm.region);
  const sampledAt = writeTime(message, 4, reading.sampledAfterNanos);
  const startAt = writeTime(message, 5, 0);
  const endAt = writeTime(message, 6, 0);
  count(7, reading.cpuTimeNanos);
  gauge(8, reading.cpuUtilizationPct);
  gauge(9, reading.cpuCoresUsed);
  count(10, reading.memoryBytesUsed);
  count(11, reading.memoryBytesPeak);
  count(12, reading.memoryByteSeconds);
  count(13, reading.diskReadBytes);
  count(14, reading.diskWriteBytes);
  count(15, reading.diskReadOps);
  count(16, reading.diskWriteOps);
  count(17, reading.networkRxBytes);
  count(18, reading.networkTxBytes);
  bytes.byte(tag(1, 2));
  bytes.varint(message.length);
  const from = bytes.append(message);
  return {
    hostAt: from + vmAt + VM_ID.hostAt,
    startAt: from + startAt,
    endAt: from + endAt,
    sampledAt: from + sampledAt,
  };
}

/** A `Timestamp` with room for its seconds. @returns where they are */
function writeTime(message: Bytes, field: number, nanos: number): number {
  const time = new Bytes();
  time.byte(tag(1, 0));
  const secondsAt = time.skip(SECONDS_BYTES);
  if (nanos > 0) {
    time.byte(tag(2, 0));
    time.varint(nanos);
  }
  message.byte(tag(field, 2));
  message.varint(time.length);
  return message.append(time) + secondsAt;
}
