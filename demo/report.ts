import type { Invoice } from '../gen/billing/v1/invoices_pb.ts';
import type { UsageQuantities } from '../gen/billing/v1/metrics_pb.ts';
import type { GetCustomerUsageResponse } from '../gen/billing/v1/query_pb.ts';
import type { Replayed } from './replay.ts';
import type { WorkedExample } from './worked-example.ts';

const HOUR_NANOS = 3_600_000_000_000n;
const GB_HOUR_BYTE_SECONDS = 3_600_000_000_000n;
const GB_BYTES = 1_000_000_000n;

/** The demo's result as one object; quantities and amounts are exact decimals as text. */
export function toJson(replayed: Replayed, usage: GetCustomerUsageResponse, invoice: Invoice): object {
  return {
    vmHours: exact(BigInt(usage.total?.observedNanos ?? 0), HOUR_NANOS),
    windowsSent: replayed.sent,
    windowsStored: Number(usage.total?.windows),
    windowsDuplicate: replayed.duplicate,
    invoiceNumber: invoice.number,
    invoiceTotal: invoice.total,
    currency: invoice.currency,
    lines: invoice.lines.map(({ description, quantity, unit, unitPrice, amount }) => {
      return { description, quantity, unit, unitPrice, amount };
    }),
  };
}

/** What a person reads. */
export function toText(example: WorkedExample, usage: GetCustomerUsageResponse, invoice: Invoice): string {
  const usageRows = [
    ['Region', 'VM-hours', 'Core-hours', 'Memory GB-h', 'Disk GB', 'Network GB', 'Windows'],
    ...usage.groups.map((group) => usageRow(group.region, group.quantities)),
    usageRow('all', usage.total),
  ];
  const lineRows = [
    ['Line', 'Quantity', 'Unit', 'Price', `Amount ${invoice.currency}`],
    ...invoice.lines.map((line) => [line.description, line.quantity, line.unit, line.unitPrice, line.amount]),
    ['Total', '', '', '', invoice.total],
  ];
  return [
    `Usage of ${example.customerId} in ${example.period} (complete: ${usage.completeness?.ratio})`,
    table(usageRows),
    '',
    `Invoice ${invoice.number} of ${example.period}`,
    table(lineRows),
  ].join('\n');
}

function usageRow(name: string, sums: UsageQuantities | undefined): string[] {
  if (sums === undefined) throw new Error(`no quantities for ${name}`);
  return [
    name,
    exact(BigInt(sums.observedNanos), HOUR_NANOS),
    exact(BigInt(sums.cpuTimeNanos), HOUR_NANOS),
    exact(BigInt(sums.memoryByteSeconds), GB_HOUR_BYTE_SECONDS),
    exact(BigInt(sums.diskReadBytes) + BigInt(sums.diskWriteBytes), GB_BYTES),
    exact(BigInt(sums.networkRxBytes) + BigInt(sums.networkTxBytes), GB_BYTES),
    String(sums.windows),
  ];
}

/** A quotient as a decimal of up to twelve places, without a float; more places than that are cut and marked. */
function exact(dividend: bigint, divisor: bigint): string {
  const whole = dividend / divisor;
  let rest = dividend % divisor;
  let places = '';
  while (rest > 0n && places.length < 12) {
    rest *= 10n;
    places += String(rest / divisor);
    rest %= divisor;
  }
  return `${whole}${places === '' ? '' : `.${places}`}${rest > 0n ? '…' : ''}`;
}

/** Columns side by side: the first to the left, the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const toLine = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  const rule = '─'.repeat(widths.reduce((sum, width) => sum + width + 2, -2));
  const lines = rows.map(toLine);
  return [lines[0], rule, ...lines.slice(1, -1), rule, lines.at(-1)].join('\n');
}
