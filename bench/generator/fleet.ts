import { Random } from './random.ts';

/** A fleet of VM hosts and the batches they send. The same description gives the same windows, byte for byte. */
export interface FleetSpec {
  readonly seed: number;
  readonly hosts: number;
  /** Numbers of hosts start here: two fleets with numbers of their own share no VM. At most 999,999. */
  readonly firstHost: number;
  /** VMs that run on a host at any time, at least 4; a batch holds `minutesPerBatch` windows of each. */
  readonly vmsPerHost: number;
  /** A divisor of 180. */
  readonly minutesPerBatch: number;
  /** Unix minutes, a multiple of 180: where the windows of the first batches start. */
  readonly firstMinute: number;
  /** Unix minutes: no window ends later. */
  readonly lastMinute: number;
  readonly customers: number;
  /** Numbers of customers start here: two fleets with numbers of their own share no customer. */
  readonly firstCustomer: number;
  /**
   * How many hosts have values of their own; the others repeat theirs under other VM ids. Sending is then mostly
   * copying, and the generator stays far cheaper than what it measures. `undefined`: every batch has values of its own,
   * which is what compression must be measured with.
   */
  readonly shapes: number | undefined;
}

/** The windows of one batch before host and time are put in. */
export interface WindowShape {
  readonly vm: VmShape;
  /** From the batch's first minute. */
  readonly minute: number;
  readonly reading: Reading;
}

/** A VM without its host: the host's number completes its id. */
export interface VmShape {
  readonly customerId: string;
  readonly region: string;
  /** Eight hexadecimal digits. */
  readonly suffix: string;
  readonly cores: number;
  readonly memoryPages: number;
  /** How much of its cores it uses on average, in thousandths. */
  readonly usualPermille: number;
}

/** What was measured in one window. All but the two gauges are whole numbers below 2^53. */
export interface Reading {
  readonly cpuTimeNanos: number;
  readonly cpuUtilizationPct: number;
  readonly cpuCoresUsed: number;
  readonly memoryBytesUsed: number;
  readonly memoryBytesPeak: number;
  readonly memoryByteSeconds: number;
  readonly diskReadBytes: number;
  readonly diskWriteBytes: number;
  readonly diskReadOps: number;
  readonly diskWriteOps: number;
  readonly networkRxBytes: number;
  readonly networkTxBytes: number;
  /** How long after the window's end it was read, in nanoseconds below a second. */
  readonly sampledAfterNanos: number;
}

/** Parts of the day, of three hours each: load follows them, and some VMs run in half of them only. */
const PHASES = 8;
export const PHASE_MINUTES = 180;
/** How busy each part of the day is, in thousandths. */
const RHYTHM_PERMILLE = [400, 350, 600, 1000, 1200, 1300, 1000, 650];
const REGIONS = ['us-east1', 'europe-west1', 'asia-south1', 'us-west2'];
const PAGE_BYTES = 4096;
const GIB_PAGES = 262_144;

/** The part of the day that a batch lies in; batches never reach over its end. */
export function phaseOf(minute: number): number {
  return Math.floor((minute % 1440) / PHASE_MINUTES);
}

/**
 * The windows of one batch, by minute, then VM.
 * @param shape which host's values
 * @param round tells batches of the same host and part of the day apart; 0 where they are to repeat
 */
export function batchShape(spec: FleetSpec, shape: number, phase: number, round: number): WindowShape[] {
  const running = vmsOf(spec, shape).filter((_, slot) => runs(slot, spec.vmsPerHost, phase));
  const readings = running.map((vm, slot) => {
    const random = new Random(spec.seed, 2, shape, phase, round, slot);
    return [...readingsOf(random, vm, phase, spec.minutesPerBatch)];
  });
  const windows: WindowShape[] = [];
  for (let minute = 0; minute < spec.minutesPerBatch; minute++) {
    running.forEach((vm, slot) => {
      const reading = readings[slot]?.[minute];
      if (reading !== undefined) windows.push({ vm, minute, reading });
    });
  }
  return windows;
}

/** All VMs that a host ever runs: three quarters of `vmsPerHost` run all day, the others are pairs that take turns. */
function vmsOf(spec: FleetSpec, shape: number): VmShape[] {
  const region = new Random(spec.seed, 0, shape).pick(REGIONS);
  const count = spec.vmsPerHost + pairsOf(spec.vmsPerHost);
  return Array.from({ length: count }, (_, slot) => {
    const random = new Random(spec.seed, 1, shape, slot);
    const cores = 1 << random.below(5);
    return {
      region,
      customerId: skewedCustomer(random, spec),
      suffix: random.below(0x1_0000_0000).toString(16).padStart(8, '0'),
      cores,
      memoryPages: cores * GIB_PAGES * (1 << random.between(1, 3)),
      usualPermille: random.chance(350) ? random.between(2, 30) : random.between(50, 700),
    };
  });
}

function pairsOf(vmsPerHost: number): number {
  return Math.floor(vmsPerHost / 4);
}

/** Both of a pair run half a day, one after the other; each pair changes over at a time of its own. */
function runs(slot: number, vmsPerHost: number, phase: number): boolean {
  const pairs = pairsOf(vmsPerHost);
  const steady = vmsPerHost - pairs;
  if (slot < steady) return true;
  const pair = (slot - steady) % pairs;
  const isFirst = slot - steady < pairs;
  return (phase + pair) % PHASES < PHASES / 2 === isFirst;
}

/** A few customers have most of the VMs: the n-th is picked about 1/n as often as the first. */
function skewedCustomer(random: Random, { customers, firstCustomer }: FleetSpec): string {
  const rank = Math.floor(Math.exp((random.below(1_000_000) / 1_000_000) * Math.log(customers + 1)));
  return `cust-${String(firstCustomer - 1 + Math.min(rank, customers)).padStart(5, '0')}`;
}

function* readingsOf(random: Random, vm: VmShape, phase: number, minutes: number): Generator<Reading> {
  const busyPermille = Math.floor((vm.usualPermille * (RHYTHM_PERMILLE[phase] ?? 1000)) / 1000);
  let pages = Math.floor((vm.memoryPages * random.between(150, 850)) / 1000);
  for (let minute = 0; minute < minutes; minute++) {
    const permille = Math.max(1, Math.min(1000, Math.floor((busyPermille * random.between(700, 1300)) / 1000)));
    if (random.chance(300)) pages = Math.min(vm.memoryPages, Math.max(1000, pages + random.between(-2000, 2000)));
    yield readingOf(random, vm, permille, pages);
  }
}

function readingOf(random: Random, vm: VmShape, permille: number, pages: number): Reading {
  const used = pages * PAGE_BYTES;
  const readOps = random.chance(250) ? random.below(permille * vm.cores + 1) : 0;
  const writeOps = random.chance(700) ? random.below(permille * vm.cores + 20) : 0;
  return {
    cpuTimeNanos: vm.cores * permille * 60_000_000 + random.below(30_000_000),
    cpuUtilizationPct: permille / 10,
    cpuCoresUsed: (vm.cores * permille) / 1000,
    memoryBytesUsed: used,
    memoryBytesPeak: used + (random.chance(200) ? random.below(5000) * PAGE_BYTES : 0),
    memoryByteSeconds: used * 60 - random.below(100) * PAGE_BYTES,
    diskReadBytes: readOps * PAGE_BYTES * random.between(1, 4),
    diskWriteBytes: writeOps * PAGE_BYTES * random.between(1, 4),
    diskReadOps: readOps,
    diskWriteOps: writeOps,
    networkRxBytes: random.below(permille * vm.cores * 2000 + 5000),
    networkTxBytes: random.below(permille * vm.cores * 3000 + 5000),
    sampledAfterNanos: random.below(20_000) * 1000,
  };
}
