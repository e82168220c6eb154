import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { Spool } from '../../../src/ingest/spool/spool.ts';
import { drainIds, idOf } from './records.ts';

const CHILD = join(import.meta.dirname, 'append-until-killed.ts');

/** What a child said until it was killed, right after so many acknowledgements. */
async function runUntilKilled(folder: string, firstId: number, acknowledgements: number) {
  const child = spawn(process.execPath, [CHILD, folder, String(firstId)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const acknowledged: number[] = [];
  const applying = new Set<number>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, id] = line.split(' ');
    if (what === 'acknowledged') acknowledged.push(Number(id));
    if (what === 'applying') applying.add(Number(id));
    if (acknowledged.length === acknowledgements) child.kill('SIGKILL');
  }
  const [, signal] = await exit;
  expect(signal).toBe('SIGKILL');
  return { acknowledged, applying };
}

it('has every acknowledged record after SIGKILL, on a real disk', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'spool-kill-'));
  try {
    const acknowledged = new Set<number>();
    const applying = new Set<number>();
    for (const [round, acknowledgements] of [1, 40, 300, 900].entries()) {
      const said = await runUntilKilled(folder, round * 100_000 + 1, acknowledgements);
      for (const id of said.acknowledged) acknowledged.add(id);
      for (const id of said.applying) applying.add(id);
    }
    const told: number[] = [];
    const spool = await Spool.open({
      folder,
      quotaBytes: 64 * 1024 * 1024,
      segmentBytes: 1024 * 1024,
      groupBytesMax: 64 * 1024,
      onRecord: (payload) => told.push(idOf(payload)),
      onEvent: (event) => expect(event.type).not.toBe('quarantined'),
    });
    const delivered = new Set(await drainIds(spool, 1_000_000));
    await spool.close();
    expect([...acknowledged].filter((id) => !applying.has(id) && !delivered.has(id))).toEqual([]);
    expect([...delivered].every((id) => told.includes(id))).toBe(true);
    expect(acknowledged.size).toBeGreaterThanOrEqual(1241);
  } finally {
    await rm(folder, { recursive: true });
  }
});
