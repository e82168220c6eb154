import { Random } from '../../bench/generator/random.ts';
import { checkStored } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet, type Place } from '../fleet.ts';
import type { Context, Finding, Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import { Totals } from '../totals.ts';

/** Windows of a VM and minute that lie together in the fleet; calls mix windows of all. */
const WINDOWS_PER_BATCH = 50;
const WINDOWS_PER_CALL = 500;
const SENDERS = 8;
/** So few that most second copies come when the first is forgotten: the table and the queries have to see them. */
const DEDUP_KEYS_MAX = '4096';

export const duplicates: Row = {
  name: 'duplicates',
  promise:
    'Half of everything sent twice, shuffled, up to 34 days late, by eight senders: usage is equal to the oracle, to the last digit.',
  trials: { full: 10_000_000, quick: 200_000 },
  tools: [],
  async run({ seed, trials, site: newSite, note }: Context): Promise<Finding> {
    const site = await newSite();
    const meterd = await site.start({ METERD_DEDUP_KEYS_MAX: DEDUP_KEYS_MAX });
    const fleet = new Fleet({ name: 'twice', seed, windowsPerBatch: WINDOWS_PER_BATCH });
    // Two in three windows are distinct: half of those come twice.
    const batches = Math.max(2, Math.floor((trials * 2) / 3 / WINDOWS_PER_BATCH));
    const order = shuffled(batches * WINDOWS_PER_BATCH, new Random(seed, 1));
    const client = new SendClient(meterd.url, await site.collectorKey(meterd), SENDERS);
    const counts = { sent: 0, accepted: 0, duplicate: 0, notTaken: 0 };
    let next = 0;
    const sender = async (): Promise<void> => {
      while (next < order.length) {
        const numbers = order.subarray(next, (next += WINDOWS_PER_CALL));
        const answer = await client.send(fleet.requestOf(Array.from(numbers, placeOf)));
        counts.sent += numbers.length;
        if (answer.kind !== 'acknowledged') {
          counts.notTaken += numbers.length;
          note(`a call was not taken: ${JSON.stringify(answer)}`);
          continue;
        }
        counts.accepted += answer.response.accepted;
        counts.duplicate += answer.response.duplicate;
        counts.notTaken += answer.response.conflicting + answer.response.refused;
      }
    };
    await Promise.all(Array.from({ length: SENDERS }, sender));
    client.close();
    const log = new SendLog();
    for (let batch = 0; batch < batches; batch++) log.acknowledge(log.takeNew());
    const totals = new Totals();
    totals.add(await checkStored(meterd, site.clickhouse(), { fleet, log }));
    return totals.finding(counts, { sent: { atLeast: batches * WINDOWS_PER_BATCH }, notTaken: { atMost: 0 } });
  },
};

function placeOf(number: number): Place {
  return { batch: Math.floor(number / WINDOWS_PER_BATCH), index: number % WINDOWS_PER_BATCH };
}

/** The numbers of all windows, and half of them a second time, in random order. */
function shuffled(windows: number, random: Random): Uint32Array {
  const order = new Uint32Array(windows + Math.floor(windows / 2));
  for (let i = 0; i < order.length; i++) order[i] = i < windows ? i : (i - windows) * 2;
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const swapped = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = swapped;
  }
  return order;
}
