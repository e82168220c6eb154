/** What V8 writes with `--cpu-prof`: https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Microseconds of the machine's monotonic clock, the one of `process.hrtime`. */
  readonly startTime: number;
  /** By sample, the node that was running. */
  readonly samples: readonly number[];
  /** By sample, microseconds since the one before. */
  readonly timeDeltas: readonly number[];
}

/** A function as called by one chain of callers. */
export interface ProfileNode {
  readonly id: number;
  readonly callFrame: CallFrame;
  readonly children?: readonly number[];
}

export interface CallFrame {
  /** In brackets where it is none: `(idle)`, `(program)`, `(garbage collector)`. */
  readonly functionName: string;
  /** Empty for what is compiled into Node. */
  readonly url: string;
}

/** A span of the monotonic clock, in microseconds. */
export interface Span {
  readonly fromMicros: number;
  readonly toMicros: number;
}

/** The monotonic clock now, in microseconds: every process of a machine has the same. */
export function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/**
 * Shares a span of time out among buckets: each sample goes to the bucket of the innermost function that has one, so that
 * what Node does for a caller counts as the caller's.
 * @param bucketOf `undefined` where the frame says nothing about where its time belongs
 * @returns microseconds by bucket; `other` has the samples without one
 */
export function microsByBucket(
  { nodes, samples, timeDeltas, startTime }: CpuProfile,
  { fromMicros, toMicros }: Span,
  bucketOf: (frame: CallFrame) => string | undefined,
): Map<string, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const callers = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id] as const)));
  const buckets = new Map<number, string>();
  const find = (id: number | undefined): string => {
    const node = id === undefined ? undefined : byId.get(id);
    if (node === undefined) return 'other';
    const known = buckets.get(node.id);
    if (known !== undefined) return known;
    const bucket = bucketOf(node.callFrame) ?? find(callers.get(node.id));
    buckets.set(node.id, bucket);
    return bucket;
  };
  const micros = new Map<string, number>();
  let atMicros = startTime;
  samples.forEach((id, i) => {
    const deltaMicros = timeDeltas[i] ?? 0;
    atMicros += deltaMicros;
    if (atMicros < fromMicros || atMicros > toMicros) return;
    const bucket = find(id);
    micros.set(bucket, (micros.get(bucket) ?? 0) + deltaMicros);
  });
  return micros;
}
