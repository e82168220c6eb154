import { type ComputedInvoice, hashLines, toInvoiceTax } from '../invoice/compute-invoice.ts';
import type { Invoice } from '../invoice/invoice.ts';
import { differs, holds, type ProofStep } from './proof-step.ts';

/** Computed from the input, lines, taxes, totals and the hash of the lines are what is stored. */
export function proveLines(invoice: Invoice, computed: ComputedInvoice): ProofStep {
  const taxes = computed.taxes.map(toInvoiceTax);
  const problem =
    rowsDiffer('line', invoice.lines, computed.lines) ??
    rowsDiffer('tax', invoice.taxes, taxes) ??
    firstDifferent('total', totalsOf(invoice), totalsOf(computed)) ??
    hashDiffers(invoice, computed);
  if (problem !== undefined) return differs('lines', problem);
  return holds('lines', `${invoice.lines.length} lines come to ${invoice.total} ${invoice.currency}, as stored`);
}

function hashDiffers(invoice: Invoice, computed: ComputedInvoice): string | undefined {
  const hash = computed.linesHash.toString('hex');
  const ofStored = hashLines(invoice.lines, invoice.taxes).toString('hex');
  if (invoice.linesHash === hash && ofStored === hash) return undefined;
  return `the lines have the hash ${ofStored}, the invoice says ${invoice.linesHash}, computed is ${hash}`;
}

function totalsOf({ net, tax, total, pricesIncludeTax }: Pick<Invoice, 'net' | 'tax' | 'total' | 'pricesIncludeTax'>) {
  return { net, tax, total, pricesIncludeTax };
}

function rowsDiffer(kind: string, stored: readonly object[], computed: readonly object[]): string | undefined {
  if (stored.length !== computed.length) {
    return `${stored.length} ${kind} rows are stored, ${computed.length} were computed`;
  }
  for (const [index, row] of stored.entries()) {
    const problem = firstDifferent(`${kind} ${index + 1}`, row, computed[index] ?? {});
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function firstDifferent(of: string, stored: object, computed: object): string | undefined {
  const [own, other] = [textsOf(stored), textsOf(computed)];
  const name = [...new Set([...own.keys(), ...other.keys()])].find((key) => own.get(key) !== other.get(key));
  if (name === undefined) return undefined;
  return `${of}: ${name} is stored as ${own.get(name) ?? 'nothing'}, computed as ${other.get(name) ?? 'nothing'}`;
}

/** Each part as text that does not depend on the order of its own parts. */
function textsOf(row: object): Map<string, string> {
  return new Map(Object.entries(row).map(([name, value]) => [name, JSON.stringify(inKeyOrder(value)) ?? 'nothing']));
}

function inKeyOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inKeyOrder);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, each]) => [name, inKeyOrder(each)]));
}
