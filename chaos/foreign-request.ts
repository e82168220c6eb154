import { type DescField, type DescMessage, type DescMethod, ScalarType } from '@bufbuild/protobuf';
import type { Random } from '../bench/generator/random.ts';
import { DAYS, HOURS, lastMonth, type Tenant } from './tenant.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MINUTE_MS = 60_000;
const DEPTH_MAX = 4;
const LIST_MAX = 2;
/** Of a thousand: how often a field that narrows an answer is there, and one that an answer needs. */
const FILTER_PERMILLE = 250;
const NEEDED_PERMILLE = 980;
const FILTERS = /^(state|due_before|page_size|window_end|period|regions|vm_ids|group_by|resume_token)$/;

/** Whose key calls, and whose ids it names. */
export interface Named {
  readonly random: Random;
  readonly theirs: Tenant;
  readonly mine: Tenant;
}

/** Times that belong together: whole hours with windows of theirs in them, and one of those windows. */
interface Times {
  readonly startMs: number;
  readonly endMs: number;
  readonly windowStartMs: number;
}

/** As JSON has it. */
export type JsonRequest = Readonly<Record<string, unknown>>;

/** A request that is well-formed, as far as names of fields tell what belongs there, with somebody else's ids wherever there is room. */
export function requestFor(method: DescMethod, named: Named): JsonRequest {
  const { random, theirs } = named;
  const startMs = theirs.firstMs + random.below(DAYS - 10) * DAY_MS;
  const endMs = startMs + random.between(1, 10) * DAY_MS;
  const windowStartMs = theirs.firstMs + random.below(DAYS) * DAY_MS + random.below(HOURS) * HOUR_MS;
  return messageFor(method.input, { ...named, times: { startMs, endMs, windowStartMs } }, 1);
}

/**
 * What of theirs an answer must be about, so that whoever may not see it must get an error: they are named, or a thing that is
 * theirs. Where neither is, an answer about nobody else is right.
 */
export function asksForTheirs(
  method: DescMethod,
  request: JsonRequest,
  theirs: Tenant,
): 'the customer' | 'a thing' | undefined {
  if (method.input.fields.some(({ name }) => name === 'customer_id')) {
    return request['customerId'] === theirs.customerId ? 'the customer' : undefined;
  }
  const { invoiceId, creditNoteId } = request;
  const things = [...theirs.ids.invoice, ...theirs.ids.creditNote];
  return things.some((id) => id === invoiceId || id === creditNoteId) ? 'a thing' : undefined;
}

type Given = Named & { readonly times: Times };

function messageFor(message: DescMessage, given: Given, depth: number): JsonRequest {
  const { random } = given;
  const request: Record<string, unknown> = {};
  for (const field of message.fields) {
    if (field.oneof !== undefined && random.pick(field.oneof.fields) !== field) continue;
    if (!random.chance(FILTERS.test(field.name) ? FILTER_PERMILLE : NEEDED_PERMILLE)) continue;
    const value = valueFor(field, given, depth);
    if (value !== undefined) request[field.jsonName] = value;
  }
  return request;
}

function valueFor(field: DescField, given: Given, depth: number): unknown {
  if (field.fieldKind === 'map') return undefined;
  if (field.fieldKind !== 'list') return singleFor(field, given, depth);
  const values = Array.from({ length: given.random.between(1, LIST_MAX) }, () => singleFor(field, given, depth));
  return [...new Set(values)].filter((each) => each !== undefined);
}

function singleFor(field: DescField, given: Given, depth: number): unknown {
  const { random } = given;
  if (field.message !== undefined) {
    if (field.message.typeName === 'google.protobuf.Timestamp') return timeText(field.name, given.times);
    if (field.message.typeName.startsWith('google.protobuf.')) return undefined;
    return depth < DEPTH_MAX ? messageFor(field.message, given, depth + 1) : undefined;
  }
  // PDF, JSON and CSV are what there is of documents; a zero stands for nothing at all.
  if (field.name === 'format') return random.pick([1, 1, 2, 3]);
  if (field.enum !== undefined) return random.pick(field.enum.values.slice(1)).number;
  if (field.scalar === ScalarType.STRING) return textFor(field.name, given);
  if (field.scalar === ScalarType.BOOL) return random.chance(500);
  if (field.scalar === ScalarType.BYTES) return '';
  return field.scalar === undefined ? undefined : random.between(1, 100);
}

function textFor(name: string, { random, theirs, mine }: Given): string | undefined {
  switch (name) {
    case 'customer_id':
    case 'customer_ids':
      // Ours and nobody are the ways past a check that only compares.
      return random.chance(800) ? theirs.customerId : random.pick([mine.customerId, '']);
    case 'vm_id':
    case 'vm_ids':
    case 'active_vms':
      return random.pick(theirs.ids.vm);
    case 'invoice_id':
      return random.pick(theirs.ids.invoice);
    case 'credit_note_id':
      return random.pick(theirs.ids.creditNote);
    case 'region':
    case 'regions':
      return 'us-east1';
    case 'period':
      return lastMonth();
    // Cursors are of lists that were really read: `pagesOf` has them.
    case 'page_token':
    case 'resume_token':
      return undefined;
    default:
      // Nothing by which an answer would be known for theirs: what a host sends, as an instance's name, is told to its customer again.
      return random.pick([...theirs.ids.other, ...theirs.ids.vm]);
  }
}

function timeText(name: string, { startMs, endMs, windowStartMs }: Times): string {
  const byName: Readonly<Record<string, number>> = {
    start: startMs,
    end: endMs,
    window_start: windowStartMs,
    window_end: windowStartMs + MINUTE_MS,
    timestamp: windowStartMs + MINUTE_MS,
  };
  return new Date(byName[name] ?? Date.now()).toISOString();
}
