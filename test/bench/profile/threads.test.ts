import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { cpuSecondsOf, threadSecondsOf } from '../../../bench/process-usage.ts';

it("tells a process's CPU time by thread, under the names that the profile knows", async () => {
  // The threads for files start with the first one that is read.
  await readFile(new URL(import.meta.url));
  const before = cpuSecondsOf(process.pid);
  const seconds = threadSecondsOf(process.pid);
  expect([...seconds.keys()]).toEqual(expect.arrayContaining(['MainThread', 'V8Worker', 'libuv-worker']));
  const all = [...seconds.values()].reduce((sum, each) => sum + each, 0);
  // Ticks are counted down a thread, and this process has some dozens of threads at most.
  expect(all).toBeGreaterThan(before - 0.5);
});
