import { BillingCollectorService } from '../gen/billing/v1/collector_pb.ts';
import { clientOf } from './clients.ts';
import type { HostKey } from './set-up.ts';
import { batchesOf, type ExampleVm, type WorkedExample } from './worked-example.ts';

/** What meterd answered, summed over all batches. */
export interface Replayed {
  sent: number;
  accepted: number;
  duplicate: number;
}

export interface ReplayOptions {
  readonly url: string;
  readonly hostKeys: readonly HostKey[];
  readonly windowsPerBatch: number;
  /** Told after each acknowledged batch. */
  readonly onAcknowledged: (replayed: Replayed, vm: ExampleVm, windows: number) => void;
}

/** Sends the example's windows, each VM's in order and the VMs beside each other, as hosts do. */
export async function replay(example: WorkedExample, options: ReplayOptions): Promise<Replayed> {
  const replayed: Replayed = { sent: 0, accepted: 0, duplicate: 0 };
  await Promise.all(example.vms.map((vm) => replayVm(example, vm, { options, replayed })));
  return replayed;
}

async function replayVm(
  example: WorkedExample,
  vm: ExampleVm,
  { options, replayed }: { options: ReplayOptions; replayed: Replayed },
): Promise<void> {
  const hostKey = options.hostKeys.find((key) => key.region === vm.region);
  if (hostKey === undefined) throw new Error(`no host key for region ${vm.region}`);
  const collector = clientOf(BillingCollectorService, options.url, hostKey.secret);
  let sequence = 0n;
  for (const metrics of batchesOf(example, vm, options.windowsPerBatch)) {
    sequence++;
    const answer = await collector.sendMetricsBatch({ metrics, instanceId: `demo-${vm.vmId}`, sequence });
    const taken = answer.accepted + answer.duplicate;
    if (taken !== metrics.length) {
      throw new Error(`${metrics.length - taken} windows were not taken: ${answer.problems[0]?.message}`);
    }
    replayed.sent += metrics.length;
    replayed.accepted += answer.accepted;
    replayed.duplicate += answer.duplicate;
    options.onAcknowledged(replayed, vm, metrics.length);
  }
}
