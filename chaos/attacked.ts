import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { KeyRole, KeyService } from '../gen/billing/v1/keys_pb.ts';
import { GoodTraffic } from './good-traffic.ts';
import { HarmWatch } from './harm-watch.ts';
import type { Site } from './site.ts';

/** A meterd that is to be attacked while it is watched, and while somebody calls it who does nothing wrong. */
export interface Attacked {
  readonly meterd: MeterdProcess;
  readonly collectorKey: string;
  readonly watch: HarmWatch;
  readonly traffic: GoodTraffic;
}

/** @param warmUp before anything is watched: what the first attack alone needs is no harm of the others */
export async function startAttacked(
  site: Site,
  warmUp: (meterd: MeterdProcess, collectorKey: string) => Promise<unknown> = async () => undefined,
): Promise<Attacked> {
  const meterd = await site.start();
  const collectorKey = await site.collectorKey(meterd);
  const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
  const { secret } = await keys.createKey({ name: 'good', role: KeyRole.OPERATOR });
  await warmUp(meterd, collectorKey);
  const watch = await HarmWatch.start(meterd);
  return { meterd, collectorKey, watch, traffic: new GoodTraffic(meterd.url, secret) };
}
