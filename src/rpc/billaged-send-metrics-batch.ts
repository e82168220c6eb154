import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type {
  SendMetricsBatchRequest,
  SendMetricsBatchResponseSchema,
  VMMetrics,
} from '../../gen/billaged/v1/billing_pb.ts';
import { type BillingMetrics, BillingMetricsSchema } from '../../gen/billing/v1/metrics_pb.ts';
import type { ReadingIntake, ReportedReading } from '../ingest/accept-readings.ts';
import type { Verdict } from '../ingest/intake.ts';
import { parseSample, type SampledVm } from '../ingest/reading.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { countersOf, hostOf } from './billaged-host.ts';

/** Answers `success` once every sample is on disk. Samples beside refused ones are stored too; the call fails all the same. */
export function billagedSendMetricsBatch(readings: ReadingIntake) {
  return async (
    request: SendMetricsBatchRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof SendMetricsBatchResponseSchema>> => {
    const key = callerOf(context);
    const { sender, region } = hostOf(key);
    const { vmId, customerId, metrics } = request;
    const vm = { vmId, customerId, region, counters: countersOf(key) };
    if (metrics.length === 0) return { success: false, message: 'no metrics provided' };
    const reports = metrics.map((sample): ReportedReading => ({
      parse: (from, bounds) => parseSample(sample, vm, from, bounds),
      shown: () => shownAs(sample, vm),
    }));
    const verdict = await readings.accept({ reports, instanceId: '' }, sender);
    if (verdict.refused > 0) throw refusal(verdict);
    return { success: true, message: messageOf(verdict) };
  };
}

/** The error of the first refused sample, in the order sent. A host that drops nothing may leave it out and go on. */
function refusal({ accepted, duplicate, conflicting, refused, faults }: Verdict): CallerFault {
  const first = faults.find(({ fault }) => fault.kind !== 'already_exists');
  if (first === undefined) throw new Error('samples were refused, and none has a reason');
  const { index, fault } = first;
  const taken = accepted + duplicate + conflicting;
  const message = `${fault.message} (metrics[${index}], the first of ${refused} refused samples; ${taken} were taken)`;
  return new CallerFault(fault.kind, fault.field, message);
}

function messageOf({ conflicting }: Verdict): string {
  if (conflicting === 0) return '';
  return `${conflicting} samples were reported before with other values; the first reports stay`;
}

/** As refused windows are kept. What no uint64 can hold is left out; the reason says what it was. */
function shownAs(sample: VMMetrics, { vmId, customerId, region }: SampledVm): BillingMetrics {
  const uint64 = (value: bigint): bigint => (value < 0n ? 0n : value);
  return create(BillingMetricsSchema, {
    vmId,
    customerId,
    region,
    ...(sample.timestamp === undefined
      ? {}
      : {
          timestamp: sample.timestamp,
          windowEnd: sample.timestamp,
        }),
    cpuTimeNanos: uint64(sample.cpuTimeNanos),
    memoryBytesUsed: uint64(sample.memoryUsageBytes),
    diskReadBytes: uint64(sample.diskReadBytes),
    diskWriteBytes: uint64(sample.diskWriteBytes),
    networkRxBytes: uint64(sample.networkRxBytes),
    networkTxBytes: uint64(sample.networkTxBytes),
  });
}
