import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { QUANTITIES } from '../bench/generator/tally.ts';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import type { UsageQuantities } from '../gen/billing/v1/metrics_pb.ts';
import { BillingQueryService } from '../gen/billing/v1/query_pb.ts';
import type { Fleet } from './fleet.ts';
import { runJob } from './run-job.ts';

/** By customer: how many windows, and the sum of each quantity. */
export class CustomerSums {
  readonly #sums = new Map<string, bigint[]>();

  /** @param quantities of these windows together, in the order of `QUANTITIES`; whole numbers */
  add(customerId: string, windows: number, quantities: readonly number[]): void {
    const sums = this.#sums.get(customerId) ?? [0n, ...QUANTITIES.map(() => 0n)];
    [windows, ...quantities].forEach((value, index) => (sums[index] = (sums[index] ?? 0n) + BigInt(value)));
    this.#sums.set(customerId, sums);
  }

  /** @returns for each customer whose usage, as meterd answers it, is not its sum, what it is and what it must be */
  async unlike(meterd: MeterdProcess, fleet: Fleet): Promise<string[]> {
    await runJob(meterd, 'rollup');
    const queries = clientOf(BillingQueryService, meterd.url, meterd.adminKey);
    const range = { start: timestampFromMs(fleet.firstMs), end: timestampFromMs(fleet.endMs) };
    const wrong: string[] = [];
    for (const [customerId, sums] of this.#sums) {
      const { total } = await queries.getCustomerUsage({ customerId, ...range });
      const answered = total === undefined ? [] : answeredSums(total);
      if (answered.join() === sums.join()) continue;
      wrong.push(`usage of ${customerId} is answered as ${answered.join()}, and is ${sums.join()}`);
    }
    return wrong;
  }
}

function answeredSums(total: UsageQuantities): string[] {
  const { cpuTimeNanos, memoryByteSeconds, diskReadBytes, diskWriteBytes } = total;
  const { diskReadOps, diskWriteOps, networkRxBytes, networkTxBytes } = total;
  const quantities = [cpuTimeNanos, memoryByteSeconds, diskReadBytes, diskWriteBytes];
  return [String(total.windows), ...quantities, diskReadOps, diskWriteOps, networkRxBytes, networkTxBytes];
}
