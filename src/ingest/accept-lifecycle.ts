import { LRUCache } from 'lru-cache';
import { CallerFault } from '../lib/failure.ts';
import { parseCustomerId, parseId } from '../lib/identifier.ts';
import { encodeEvidence, type EvidenceRow, type EvidenceRows } from './evidence-rows.ts';
import { boundsAt, type IntakeOptions, ReceiptClock } from './intake.ts';
import { encodeRecord, TouchedHours } from './record.ts';
import { touchAround } from './touch-around.ts';
import { checkAllowed, checkTimeliness, parseNanos, type TimeBounds } from './validate.ts';
import { PRECEDENCE_MAX, type Sender } from './window.ts';
import { NO_WINDOWS } from './window-block.ts';

/** A host whose messages name no region: its key's only one is meant. */
export interface Host {
  readonly sender: Sender;
  readonly region: string;
}

/** What a host tells of one VM. Times are Unix nanoseconds. */
export type VmNotice =
  | { readonly kind: 'started'; readonly vmId: string; readonly customerId: string; readonly startTimeNanos: bigint }
  | { readonly kind: 'stopped'; readonly vmId: string; readonly stopTimeNanos: bigint }
  | {
      readonly kind: 'possible_gap';
      readonly vmId: string;
      readonly lastSentNanos: bigint;
      readonly resumeTimeNanos: bigint;
    };

/** A notice that was checked: its customer, empty where it is not known, and the time that it is about. */
interface Checked {
  readonly customerId: string;
  readonly fromNanos: bigint;
  readonly untilNanos: bigint;
}

type LifecycleOptions = Pick<IntakeOptions, 'clock' | 'spool' | 'lateDaysMax' | 'rawDays' | 'aheadSecondsMax'>;

/** As the enum of `vm_events` has them. */
const KIND_NUMBERS = { started: 1, stopped: 2, possible_gap: 3 } as const satisfies Record<VmNotice['kind'], number>;
const HEARTBEAT_VMS_MAX = 10_000;
/** Forgotten keys are told of once more. */
const TOLD_KEYS_MAX = 10_000;
const DAY_NANOS = 86_400_000_000_000n;

/**
 * What hosts say of the lives of their VMs, on its way to `vm_events` and `heartbeats`, and to `key_customers` whose VMs they may tell of. Nothing is deduplicated here: a copy
 * collapses in the table, and two heartbeats say no more than the later one.
 */
export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #receipts = new ReceiptClock();
  /** Keys whose customers are on disk. */
  readonly #told = new LRUCache<string, true>({ max: TOLD_KEYS_MAX });

  constructor(options: LifecycleOptions) {
    this.#options = options;
  }

  /** Resolves when the notice is on disk. @throws CallerFault where it is refused; NotNow where there is no room */
  async notice(notice: VmNotice, { sender, region }: Host): Promise<void> {
    const nowNanos = this.#options.clock.nowNanos();
    const bounds = boundsAt(nowNanos, this.#options);
    const vmId = parseId('vm_id', notice.vmId);
    const { customerId, fromNanos, untilNanos } = check(notice, { sender, region }, bounds);
    const event: EvidenceRow<'vm_events'> = {
      vm_id: vmId,
      at: fromNanos,
      kind: KIND_NUMBERS[notice.kind],
      customer_id: customerId,
      region,
      until: untilNanos,
      instance_id: '',
      credential_id: sender.credentialId,
      precedence: PRECEDENCE_MAX - this.#receipts.at(nowNanos),
    };
    const touched = new TouchedHours();
    touchAround(touched, customerId, fromNanos, untilNanos, bounds);
    await this.#store(encodeEvidence('vm_events', [event]), touched, sender);
  }

  /**
   * Notes which VMs run on a host now. Resolves when that is on disk.
   * @throws CallerFault where it is refused; NotNow where there is no room
   */
  async heartbeat(instanceId: string, vmIds: readonly string[], { sender, region }: Host): Promise<void> {
    if (instanceId !== '') parseId('instance_id', instanceId);
    if (vmIds.length > HEARTBEAT_VMS_MAX) {
      const message = `active_vms: ${vmIds.length} VMs in one heartbeat, more than ${HEARTBEAT_VMS_MAX}`;
      throw new CallerFault('invalid_argument', 'active_vms', message);
    }
    const nowNanos = this.#options.clock.nowNanos();
    const heartbeat: EvidenceRow<'heartbeats'> = {
      received_at: this.#receipts.at(nowNanos),
      credential_id: sender.credentialId,
      instance_id: instanceId,
      region,
      vm_ids: vmIds.map((vmId) => parseId('active_vms', vmId)),
    };
    // No hour is computed from it: gaps are looked for in heartbeats where they are listed.
    await this.#store(encodeEvidence('heartbeats', [heartbeat]), new TouchedHours(), sender);
  }

  /** The first record of a key that may not report for everybody says for whom it may: the same holds for all after it. */
  async #store(evidence: EvidenceRows, touched: TouchedHours, { credentialId, customerIds }: Sender): Promise<void> {
    const isNew = customerIds !== undefined && !this.#told.has(credentialId);
    const rows = ['', ...(customerIds ?? [])].map((id) => ({ credential_id: credentialId, customer_id: id }));
    const scope = isNew ? [encodeEvidence('key_customers', rows)] : [];
    await this.#options.spool.append(encodeRecord(NO_WINDOWS, touched, [...scope, evidence]));
    if (isNew) this.#told.set(credentialId, true);
  }
}

function check(notice: VmNotice, { sender, region }: Host, bounds: TimeBounds): Checked {
  const timely = (field: string, nanos: bigint): bigint => {
    checkTimeliness(field, parseNanos(field, nanos), sender, bounds);
    return nanos;
  };
  switch (notice.kind) {
    case 'started': {
      const customerId = parseCustomerId('customer_id', notice.customerId);
      checkAllowed(customerId, region, sender);
      const fromNanos = timely('start_time', notice.startTimeNanos);
      return { customerId, fromNanos, untilNanos: fromNanos };
    }
    case 'stopped': {
      const fromNanos = timely('stop_time', notice.stopTimeNanos);
      return { customerId: onlyCustomerOf(sender), fromNanos, untilNanos: fromNanos };
    }
    case 'possible_gap': {
      const fromNanos = timely('last_sent', notice.lastSentNanos);
      const untilNanos = timely('resume_time', notice.resumeTimeNanos);
      checkGap(fromNanos, untilNanos, bounds);
      return { customerId: onlyCustomerOf(sender), fromNanos, untilNanos };
    }
  }
}

function checkGap(lastSentNanos: bigint, resumeTimeNanos: bigint, { lateDaysMax }: TimeBounds): void {
  if (resumeTimeNanos <= lastSentNanos) {
    const message = `resume_time: ${resumeTimeNanos} is not after last_sent ${lastSentNanos}`;
    throw new CallerFault('invalid_argument', 'resume_time', message);
  }
  // Each hour of it is computed anew, so it may be no longer than what may be late.
  if (resumeTimeNanos - lastSentNanos > BigInt(lateDaysMax) * DAY_NANOS) {
    const message = `resume_time: ${resumeTimeNanos} is more than ${lateDaysMax} days after last_sent ${lastSentNanos}`;
    throw new CallerFault('out_of_range', 'resume_time', message);
  }
}

/** Whose a VM is, where the host does not say it but its key reports for nobody else; otherwise empty. */
function onlyCustomerOf({ customerIds }: Sender): string {
  const [only = '', ...others] = customerIds ?? [];
  return others.length === 0 ? only : '';
}
