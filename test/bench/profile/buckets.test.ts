import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { bucketOf } from '../../../bench/profile/buckets.ts';

const SRC = new URL('../../../src/', import.meta.url);
const files = readdirSync(fileURLToPath(SRC), { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
);

function bucketOfFile(file: string): string | undefined {
  return bucketOf({ functionName: 'some', url: new URL(file, SRC).href });
}

describe('the buckets of a profile', () => {
  it('know every file on the path of a window', () => {
    const onThePath = files.filter((file) => /^(ingest|rpc|access)\//.test(file));
    expect(onThePath.length).toBeGreaterThan(0);
    expect(onThePath.filter((file) => bucketOfFile(file) === undefined)).toEqual([]);
  });

  it('find the parts of ingest in the files that are there', () => {
    const found = new Set(files.filter((file) => file.startsWith('ingest/')).map(bucketOfFile));
    const parts = ['deduplication', 'spool: records, groups, files', 'drain into ClickHouse'];
    expect(found).toEqual(new Set([...parts, 'windows: read, checked, written as rows']));
    const remembering = files.filter((file) => bucketOfFile(file) === 'deduplication');
    expect(new Set(remembering)).toEqual(
      new Set(['dedup', 'hour-table', 'hour-windows'].map((file) => `ingest/${file}.ts`)),
    );
  });

  it('tell what Node does for itself from what it does for its callers', () => {
    const of = (functionName: string, url = ''): string | undefined => bucketOf({ functionName, url });
    expect([of('(idle)'), of('(garbage collector)')]).toEqual(['idle', 'collecting garbage']);
    expect(of('crc32', 'node:zlib')).toBe('checksums');
    expect(of('respond', 'node:internal/http2/core')).toBe('HTTP/2 in JavaScript');
    expect(of('writeBuffer')).toBeUndefined();
    expect(of('push', 'node:internal/streams/readable')).toBeUndefined();
  });
});
