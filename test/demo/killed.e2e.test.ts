import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { closeMonth, readInvoice, readUsage } from '../../demo/close-month.ts';
import { type MeterdProcess, startMeterd, stopMeterd } from '../../demo/meterd-process.ts';
import { replay } from '../../demo/replay.ts';
import { createHostKeys, type HostKey, registerCustomer, subscribe } from '../../demo/set-up.ts';
import { type ExampleVm, workedExample, type WorkedExample } from '../../demo/worked-example.ts';
import { folderForTest } from '../meterd.ts';

const WINDOWS_PER_BATCH = 300;
const example = workedExample(Date.now());
const dataDir = await folderForTest();

/** One that a failed test left behind would keep the run from ending. */
async function start(): Promise<MeterdProcess> {
  const meterd = await startMeterd(dataDir, { METERD_LISTEN: '127.0.0.1:0' });
  onTestFinished(async () => void (await stopMeterd(meterd)));
  return meterd;
}

/** Sends until meterd is killed under it. @returns how many windows of each VM were acknowledged, from its first on */
async function sendUntilKilled(
  meterd: MeterdProcess,
  hostKeys: HostKey[],
  killAfter: number,
): Promise<Map<string, number>> {
  const acknowledged = new Map<string, number>();
  const killed = once(meterd.child, 'exit');
  const onAcknowledged = ({ sent }: { sent: number }, { vmId }: ExampleVm, windows: number): void => {
    acknowledged.set(vmId, (acknowledged.get(vmId) ?? 0) + windows);
    if (sent >= killAfter) meterd.child.kill('SIGKILL');
  };
  const options = { url: meterd.url, hostKeys, windowsPerBatch: WINDOWS_PER_BATCH, onAcknowledged };
  await expect(replay(example, options)).rejects.toThrow();
  await killed;
  return acknowledged;
}

/** The example cut down to what was acknowledged. */
function acknowledgedPart(acknowledged: Map<string, number>): { vm: ExampleVm; example: WorkedExample }[] {
  return example.vms.map((vm) => {
    const endMs = vm.startMs + (acknowledged.get(vm.vmId) ?? 0) * 60_000;
    return { vm, example: { ...example, vms: [vm], endMs } };
  });
}

it('loses nothing that was acknowledged and bills nothing twice when it is killed twice in the middle', async () => {
  const first = await start();
  await registerCustomer(first, example);
  const hostKeys = await createHostKeys(first, example);
  const acknowledged = await sendUntilKilled(first, hostKeys, 20_000);
  expect([...acknowledged.values()].reduce((a, b) => a + b)).toBeGreaterThanOrEqual(20_000);

  // What was acknowledged is there without being sent again: each VM's part is complete and answers as a duplicate.
  const second = await start();
  for (const part of acknowledgedPart(acknowledged)) {
    const counts = await replay(part.example, {
      url: second.url,
      hostKeys,
      windowsPerBatch: WINDOWS_PER_BATCH,
      onAcknowledged: () => undefined,
    });
    expect(counts).toEqual({ sent: acknowledged.get(part.vm.vmId), accepted: 0, duplicate: counts.sent });
  }
  await sendUntilKilled(second, hostKeys, 60_000);

  const third = await start();
  const counts = await replay(example, {
    url: third.url,
    hostKeys,
    windowsPerBatch: WINDOWS_PER_BATCH,
    onAcknowledged: () => undefined,
  });
  expect(counts.sent).toBe(112_320);
  expect(counts.duplicate).toBeGreaterThanOrEqual(60_000);
  await subscribe(third, example);
  await closeMonth(third, example);
  const usage = await readUsage(third, example);
  expect(usage.total).toMatchObject({ windows: 112_320n, observedNanos: String(1872n * 3_600_000_000_000n) });
  expect(usage.completeness).toMatchObject({ ratio: '1', gaps: 0n, conflicts: 0n });
  expect(await readInvoice(third, example)).toMatchObject({ total: '247.86', number: 'INV-000001' });
  expect(await stopMeterd(third)).toBe(0);
}, 300_000);
