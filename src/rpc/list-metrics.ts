import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListMetricsRequest, ListMetricsResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { listOwnMetrics } from '../billing/plans/metrics-store.ts';
import { METRICS } from '../billing/rating/metrics.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { toMetricMessage } from './metric-message.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** The built-in ones first, then those of the operator. */
export function listMetrics({ db }: BillingStore) {
  return async (request: ListMetricsRequest): Promise<MessageInitShape<typeof ListMetricsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const after = fromPageToken(request.pageToken, /^(built-in:\d{1,3}|own:.*)$/su) ?? 'built-in:0';
    const [kind, key] = [after.slice(0, after.indexOf(':')), after.slice(after.indexOf(':') + 1)];
    const builtIn = kind === 'own' ? [] : METRICS.slice(Number(key));
    const own = await listOwnMetrics(db, kind === 'own' ? key : '', size + 1);
    const { page, nextPageToken } = pageOf([...builtIn, ...own], size, ({ id }) => {
      const index = METRICS.findIndex((metric) => metric.id === id);
      return index >= 0 ? `built-in:${index + 1}` : `own:${id}`;
    });
    return { metrics: page.map(toMetricMessage), nextPageToken };
  };
}
