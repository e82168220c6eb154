import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Metric as MetricMessage, MetricSchema } from '../../gen/billing/v1/plans_pb.ts';
import type { MetricText } from '../billing/plans/metrics-store.ts';
import type { Metric } from '../billing/rating/plan-content.ts';
import { CallerFault } from '../lib/failure.ts';

type Quantity = Metric['terms'][number]['quantity'];

/** As the contract spells what is measured: the fields of `UsageQuantities`. */
const NAMES = {
  cpuTimeNanos: 'cpu_time_nanos',
  memoryByteSeconds: 'memory_byte_seconds',
  diskReadBytes: 'disk_read_bytes',
  diskWriteBytes: 'disk_write_bytes',
  diskReadOps: 'disk_read_ops',
  diskWriteOps: 'disk_write_ops',
  networkRxBytes: 'network_rx_bytes',
  networkTxBytes: 'network_tx_bytes',
  observedNanos: 'observed_nanos',
} as const satisfies Record<Quantity, string>;

export function toMetricMessage(metric: Metric): MessageInitShape<typeof MetricSchema> {
  const { id: metricId, description, unit, terms, perUnit } = metric;
  const named = terms.map(({ quantity, weight }) => ({ quantity: NAMES[quantity], weight }));
  return { metricId, description, unit, terms: named, perUnit: perUnit.toString() };
}

/** @throws CallerFault where it is missing, or a term names nothing that is measured */
export function toMetricText(message: MetricMessage | undefined): MetricText {
  if (message === undefined) throw new CallerFault('invalid_argument', 'metric', 'metric is missing');
  const { metricId: id, description, unit, perUnit } = message;
  const terms = message.terms.map(({ quantity, weight }, index) => {
    return { quantity: toQuantity(`metric.terms[${index}].quantity`, quantity), weight };
  });
  return { id, description, unit, terms, perUnit };
}

function isQuantity(quantity: string): quantity is Quantity {
  return quantity in NAMES;
}

function toQuantity(field: string, name: string): Quantity {
  const quantity = Object.keys(NAMES)
    .filter(isQuantity)
    .find((each) => NAMES[each] === name);
  if (quantity !== undefined) return quantity;
  const shown = JSON.stringify(name.slice(0, 100));
  const message = `${field}: ${shown} is not measured; there is ${Object.values(NAMES).join(', ')}`;
  throw new CallerFault('invalid_argument', field, message);
}
