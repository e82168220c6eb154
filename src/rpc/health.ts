import { setTimeout as wait } from 'node:timers/promises';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { type Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/grpc/health/v1/health_pb.ts';
import { CallerFault } from '../lib/failure.ts';

const WATCH_INTERVAL_MS = 1000;

/** gRPC's health protocol over the same answer as `/readyz`. */
export function health(isReady: () => boolean, services: ReadonlySet<string>): ServiceImpl<typeof Health> {
  const status = (): Status => (isReady() ? Status.SERVING : Status.NOT_SERVING);
  return {
    check({ service }) {
      if (service !== '' && !services.has(service)) {
        throw new CallerFault('not_found', 'service', `service: "${service}" is not served here`);
      }
      return { status: status() };
    },
    async *watch({ service }, context: HandlerContext) {
      const isKnown = service === '' || services.has(service);
      let told: Status | undefined;
      while (!context.signal.aborted) {
        const now = isKnown ? status() : Status.SERVICE_UNKNOWN;
        if (now !== told) yield { status: now };
        told = now;
        await wait(WATCH_INTERVAL_MS, undefined, { signal: context.signal });
      }
    },
  };
}
