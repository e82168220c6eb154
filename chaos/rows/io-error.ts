import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Random } from '../../bench/generator/random.ts';
import { checkStored } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import { environmentOf } from '../preload.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import { tool } from '../tools.ts';
import { Totals } from '../totals.ts';

const run = promisify(execFile);

const WINDOWS_PER_BATCH = 20;
const LANES = 4;
const FAULTS = ['posix/io/rw/pwrite', 'posix/io/sync/fdatasync'];
const EIO = 5;
/** From the moment the fault is there to the last ack. */
const LAST_ACK_MS_MAX = 100;
const EXIT_TIMEOUT_MS = 30_000;

export const ioError: Row = {
  name: 'io-error',
  promise:
    'EIO on every write or sync of the disk: no ack after it, none 100 ms later, and nothing acknowledged is lost after the restart.',
  trials: { full: 500, quick: 20 },
  tools: ['fiu-run', 'fiu-ctrl'],
  async run(context: Context): Promise<Finding> {
    const { seed, random, trials } = context;
    const site = await context.site();
    const controlPath = join(context.folder, 'fiu');
    const environment = await environmentOf('fiu-run', ['-x', '-f', controlPath], ['LD_PRELOAD', 'FIU_']);
    const fleet = new Fleet({ name: 'eio', seed, windowsPerBatch: WINDOWS_PER_BATCH });
    const log = new SendLog();
    const counts = { faults: 0, acksOfLaterCalls: 0, lastAckMsMax: 0, notStopped: 0 };
    let lastAckMs = 0;
    let faultMs = Number.POSITIVE_INFINITY;
    const load = new Load({
      fleet,
      log,
      random: new Random(seed, 1),
      lanes: LANES,
      resendPermille: 300,
      onAnswer: (answer, _, sentMs) => {
        // A duplicate of what is on disk is answered without a write.
        if (answer.kind !== 'acknowledged' || answer.response.accepted === 0) return;
        lastAckMs = performance.now();
        if (sentMs > faultMs) counts.acksOfLaterCalls++;
      },
    });
    for (; counts.faults < trials; counts.faults++) {
      const meterd = await site.start(environment);
      const client = new SendClient(meterd.url, await site.collectorKey(meterd), LANES);
      const exited = once(meterd.child, 'exit');
      const before = log.acknowledged.size;
      const loading = load.run(client, { signal: new AbortController().signal, untilBroken: true });
      // The first calls of a process take longest, and a fault before them would try nothing.
      while (log.acknowledged.size === before && meterd.child.exitCode === null) await wait(1);
      await wait(random.between(20, 200));
      const fault = random.pick(FAULTS);
      const control = ['-f', controlPath, '-c', `enable name=${fault},failinfo=${EIO}`, String(meterd.child.pid)];
      const { stdout } = await run(tool('fiu-ctrl'), control);
      if (stdout !== '') throw new Error(`fiu-ctrl ${control.join(' ')}: ${stdout}`);
      faultMs = performance.now();
      const timeout = setTimeout(() => {
        counts.notStopped++;
        context.note(
          `trial ${counts.faults}, ${fault}: meterd goes on; last ack ${Math.round(lastAckMs - faultMs)} ms after`,
        );
        meterd.child.kill('SIGKILL');
      }, EXIT_TIMEOUT_MS);
      await Promise.all([loading, exited]);
      clearTimeout(timeout);
      client.close();
      counts.lastAckMsMax = Math.max(counts.lastAckMsMax, Math.round(lastAckMs - faultMs));
      faultMs = Number.POSITIVE_INFINITY;
    }
    const meterd = await site.start();
    const totals = new Totals();
    totals.add(await checkStored(meterd, site.clickhouse(), { fleet, log }));
    totals.wrong.push(...load.wrong);
    return totals.finding(counts, {
      faults: { atLeast: trials },
      acknowledged: { atLeast: trials * WINDOWS_PER_BATCH },
      acksOfLaterCalls: NONE,
      lastAckMsMax: { atMost: LAST_ACK_MS_MAX },
      notStopped: NONE,
    });
  },
};
