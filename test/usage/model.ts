import { type Quantities, quantitiesOf } from '../../src/usage/window.ts';
import { HOUR, MINUTE, type Report, valueHash } from './stored.ts';

/** A row of `usage_hours`, computed slowly and plainly from the reports. */
export interface ModelHour extends Quantities {
  readonly customerId: string;
  readonly hour: bigint;
  readonly region: string;
  readonly vmId: string;
  readonly observed: bigint;
  readonly unobserved: bigint;
  readonly windows: bigint;
  readonly windowsCarried: bigint;
  readonly conflicts: bigint;
  readonly conflictsCarried: bigint;
  readonly first: bigint;
  readonly last: bigint;
  readonly gaps: (readonly [bigint, bigint])[];
}

interface Piece extends Report {
  readonly hour: bigint;
  readonly carried: boolean;
  readonly conflict: boolean;
}

/** @param chosen reports that somebody chose */
export function modelHours(reports: readonly Report[], chosen: readonly Report[] = []): ModelHour[] {
  const rows: ModelHour[] = [];
  const byVmHour = groups(countedReports(reports, chosen).flatMap(cutAtHours), (piece) => vmHour(piece));
  for (const pieces of byVmHour.values()) {
    const walked = walk(
      pieces.toSorted(
        (a, b) => order(a.startNanos, b.startNanos) || order(a.endNanos, b.endNanos) || order(a.region, b.region),
      ),
    );
    for (const ofRegion of groups(walked, (each) => each.piece.region).values()) rows.push(sum(ofRegion));
  }
  return rows.toSorted((a, b) => order(rowKey(a), rowKey(b)));
}

export function rowKey(row: Pick<ModelHour, 'customerId' | 'hour' | 'region' | 'vmId'>): string {
  return [row.customerId, row.hour, row.region, row.vmId].join('|');
}

/** What a window is known by, as text. */
export function windowKey({ customerId, vmId, startNanos, endNanos }: Report): string {
  return [customerId, vmId, startNanos, endNanos].join('|');
}

function countedReports(
  reports: readonly Report[],
  chosen: readonly Report[],
): (Report & { readonly conflict: boolean })[] {
  const chosenByKey = new Map(chosen.map((each) => [windowKey(each), each]));
  return [...groups(reports, windowKey)].map(([key, same]) => {
    const choice = chosenByKey.get(key);
    if (choice !== undefined) return { ...choice, conflict: false };
    const [first] = same.toSorted((a, b) => order(a.receipt, b.receipt) || order(valueHash(a), valueHash(b)));
    if (!first) throw new Error('a group has no member');
    return { ...first, conflict: new Set(same.map((each) => valueHash(each))).size > 1 };
  });
}

/** Cuts nanosecond bounds at the first edge; a window is at most an hour long, so there is at most one. */
function cutAtHours(window: Report & { readonly conflict: boolean }): Piece[] {
  const hour = window.startNanos - (window.startNanos % HOUR);
  const edge = hour + HOUR;
  if (window.endNanos <= edge) return [{ ...window, hour, carried: false }];
  const length = window.endNanos - window.startNanos;
  const head = quantitiesOf((field) => (window[field] * (edge - window.startNanos)) / length);
  const tail = quantitiesOf((field) => window[field] - head[field]);
  return [
    { ...window, ...head, hour, endNanos: edge, carried: false },
    { ...window, ...tail, hour: edge, startNanos: edge, carried: true },
  ];
}

interface Walked {
  readonly piece: Piece;
  readonly coveredUntil: bigint;
}

function walk(pieces: readonly Piece[]): Walked[] {
  let coveredUntil = pieces[0]?.startNanos ?? 0n;
  return pieces.map((piece) => {
    const walked = { piece, coveredUntil };
    coveredUntil = piece.endNanos > coveredUntil ? piece.endNanos : coveredUntil;
    return walked;
  });
}

function sum(walked: readonly Walked[]): ModelHour {
  const pieces = walked.map((each) => each.piece);
  const [first] = pieces;
  if (!first) throw new Error('a row has no piece');
  const { customerId, vmId, region, hour } = first;
  const total = (valueOf: (piece: Piece) => bigint) => pieces.reduce((so, piece) => so + valueOf(piece), 0n);
  const count = (test: (piece: Piece) => boolean) => BigInt(pieces.filter(test).length);
  const holes = walked
    .map(({ piece, coveredUntil }) => [coveredUntil, piece.startNanos] as const)
    .filter(([a, b]) => b > a);
  let observed = 0n;
  for (const { piece, coveredUntil } of walked) {
    const from = piece.startNanos > coveredUntil ? piece.startNanos : coveredUntil;
    if (piece.endNanos > from) observed += piece.endNanos - from;
  }
  return {
    customerId,
    vmId,
    region,
    hour,
    ...quantitiesOf((field) => total((piece) => piece[field])),
    observed,
    unobserved: holes.reduce((so, [a, b]) => so + b - a, 0n),
    windows: BigInt(pieces.length),
    windowsCarried: count((piece) => piece.carried),
    conflicts: count((piece) => piece.conflict),
    conflictsCarried: count((piece) => piece.conflict && piece.carried),
    first: pieces.map((piece) => piece.startNanos).reduce((a, b) => (a < b ? a : b)),
    last: pieces.map((piece) => piece.endNanos).reduce((a, b) => (a > b ? a : b)),
    gaps: holes.filter(([a, b]) => b - a > 2n * MINUTE),
  };
}

function vmHour(piece: Piece): string {
  return [piece.customerId, piece.vmId, piece.hour].join('|');
}

function groups<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const item of items) found.set(keyOf(item), [...(found.get(keyOf(item)) ?? []), item]);
  return found;
}

function order<T extends bigint | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
