import type { CallFrame } from './cpu-profile.ts';

/** Not work. */
export const IDLE = 'idle';

/** What a function's name or its file says about where its time belongs; the first that fits counts. */
const RULES: readonly (readonly [bucket: string, kind: keyof CallFrame, pattern: RegExp])[] = [
  [IDLE, 'functionName', /^\(idle\)$/],
  ['collecting garbage', 'functionName', /^\(garbage collector\)$/],
  ['native code outside any call: sockets, HTTP/2 frames', 'functionName', /^\(program\)$/],
  ['checksums', 'functionName', /^crc32$/],
  ['deduplication', 'url', /\/src\/ingest\/(dedup|hour-[a-z]+)\.ts$/],
  ['spool: records, groups, files', 'url', /\/src\/ingest\/(spool\/|record\.ts$)|^node:internal\/fs\//],
  ['drain into ClickHouse', 'url', /\/clickhouse-writer\.ts$|\/node_modules\/@clickhouse\/|^node:_http_/],
  ['windows: read, checked, written as rows', 'url', /\/src\/ingest\/|^wasm:/],
  ['Connect, protobuf, the gate', 'url', /\/node_modules\/(@connectrpc|@bufbuild)\/|\/src\/(rpc|access)\/|\/undici\//],
  ['live stream, metrics, logs', 'url', /\/src\/(usage|telemetry)\/|\/node_modules\/(@opentelemetry|pino)/],
  ['HTTP/2 in JavaScript', 'url', /^node:(internal\/)?http2/],
];

/** The part of meterd that a function belongs to; `undefined` for what serves several, such as Node's streams. */
export function bucketOf(frame: CallFrame): string | undefined {
  return RULES.find(([, kind, pattern]) => pattern.test(frame[kind]))?.[0];
}
