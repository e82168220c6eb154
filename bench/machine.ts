import { readFile } from 'node:fs/promises';
import { arch, availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { createRequire } from 'node:module';

/** What the figures were measured on. */
export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly clickhouse: string;
}

export async function thisMachine(): Promise<Machine> {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() || arch(),
    memoryGib: Math.round(totalmem() / 1024 ** 3),
    kernel: `${type()} ${release()}`,
    node: process.version,
    clickhouse: await embeddedVersion(),
  };
}

/** Of the library's package: its first numbers are those of the ClickHouse in it. */
async function embeddedVersion(): Promise<string> {
  const library = createRequire(import.meta.url).resolve('@chdb/lib-linux-x64-gnu/libchdb.so');
  const manifest: { version?: string } = JSON.parse(
    await readFile(library.replace(/libchdb\.so$/, 'package.json'), 'utf8'),
  );
  return manifest.version ?? 'unknown';
}
