import { type Decimal, formatDecimal, parseDecimal } from '../money.ts';
import type { InvoiceInput } from './invoice-input.ts';

/**
 * The whole input as JSON: the same text for the same input, in whatever order its usage, discounts and lines came.
 * Decimals, whole numbers and instants are `{"$decimal":"0.05"}`, `{"$integer":"42"}` and `{"$instant":"2026-09-01T00:00:00.000Z"}`;
 * what is `undefined` is left out.
 */
export function encodeInput(input: InvoiceInput): string {
  return JSON.stringify(toJson(inOrder(input)));
}

/** The input that `encodeInput` made the text of. @throws Error where it is no such text */
export function decodeInput(text: string): InvoiceInput {
  // Stored beside its hash: what has the hash was written by `encodeInput`.
  const input: InvoiceInput = JSON.parse(text, fromJson);
  return input;
}

/** The same input with everything that has an order of its own in it. */
export function inOrder(input: InvoiceInput): InvoiceInput {
  return {
    ...input,
    spans: sortedBy(input.spans, (span) => span.start.toISOString()).map((span) => {
      return { ...span, usage: sortedBy(span.usage, (each) => `${each.region}\n${JSON.stringify(toJson(each))}`) };
    }),
    next: { ...input.next, spans: sortedBy(input.next.spans, (span) => span.start.toISOString()) },
    billedInAdvance: sortedBy(input.billedInAdvance, (line) => {
      return `${line.start.toISOString()} ${JSON.stringify(toJson(line))}`;
    }),
    discounts: sortedBy(input.discounts, (each) => each.discountId),
    manualLines: sortedBy(input.manualLines, (line) => `${line.at.toISOString()} ${line.manualLineId}`),
  };
}

function sortedBy<T>(all: readonly T[], keyOf: (one: T) => string): T[] {
  if (all.length < 2) return [...all];
  const keyed = all.map((one) => ({ one, key: keyOf(one) }));
  return keyed.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ one }) => one);
}

function toJson(value: unknown): unknown {
  if (typeof value === 'bigint') return { $integer: value.toString() };
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return { $instant: value.toISOString() };
  if (Array.isArray(value)) return value.map(toJson);
  if (isDecimal(value)) return { $decimal: formatDecimal(value) };
  const entries = Object.entries(value)
    .filter(([, each]) => each !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, toJson(each)]));
}

/** For `JSON.parse`, which asks for each value from the inside out. */
function fromJson(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const [[tag, text] = [], ...others] = Object.entries(value);
  if (typeof text !== 'string' || others.length > 0) return value;
  if (tag === '$decimal') return parseDecimal(text, tag);
  if (tag === '$integer') return BigInt(text);
  return tag === '$instant' ? new Date(text) : value;
}

function isDecimal(value: object): value is Decimal {
  return 'units' in value && 'scale' in value && typeof value.units === 'bigint';
}
