import type { DescService } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import type { ClickHouseClient } from '@clickhouse/client';
import { AuditService } from '../../gen/billing/v1/audit_pb.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { CustomerService } from '../../gen/billing/v1/customers_pb.ts';
import { InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { PlanService } from '../../gen/billing/v1/plans_pb.ts';
import { BillingQueryService } from '../../gen/billing/v1/query_pb.ts';
import { Health } from '../../gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import type { KeyStore } from '../access/key-store.ts';
import type { KnownKeys } from '../access/known-keys.ts';
import type { BillingStore } from '../billing/store.ts';
import type { Ingest } from '../ingest/accept-batch.ts';
import type { JobRuns } from '../jobs/job-runs.ts';
import type { LiveHub } from '../usage/live.ts';
import type { UsageForBilling } from '../usage/usage-for-billing.ts';
import { createCustomer } from './create-customer.ts';
import { createKey } from './create-key.ts';
import { getBillingWindow } from './get-billing-window.ts';
import { getCustomerUsage } from './get-customer-usage.ts';
import { getInvoice } from './get-invoice.ts';
import { health } from './health.ts';
import { listAuditRecords } from './list-audit-records.ts';
import { listCustomers } from './list-customers.ts';
import { listInvoices } from './list-invoices.ts';
import { listJobRuns } from './list-job-runs.ts';
import { listKeys } from './list-keys.ts';
import { listPlans } from './list-plans.ts';
import { publishPlan } from './publish-plan.ts';
import { reflection } from './reflection.ts';
import { revokeKey } from './revoke-key.ts';
import { type JobRunner, runJob } from './run-job.ts';
import { sendMetrics } from './send-metrics.ts';
import type { RawMethods } from './http-handler.ts';
import { rawSendMetricsBatch, sendMetricsBatch, sendRawMetricsBatch, setWindowsAside } from './send-metrics-batch.ts';
import { streamLiveUsage } from './stream-live-usage.ts';
import { subscribe } from './subscribe.ts';

/** What the RPCs of this process are served from. Where a role's part is `undefined`, its services are not served. */
export interface Served {
  readonly keys: KeyStore;
  readonly known: KnownKeys;
  readonly billing: BillingStore;
  readonly usage: UsageForBilling;
  readonly clickhouse: ClickHouseClient;
  readonly runs: JobRuns;
  readonly isReady: () => boolean;
  /** Role collector. */
  readonly ingest: Ingest | undefined;
  readonly live: LiveHub | undefined;
  /** Role jobs. */
  readonly jobs: JobRunner | undefined;
  /** Role query. */
  readonly answersQueries: boolean;
}

/** Registers the services of this process's roles, with health and reflection over just these. */
export function routes(served: Served): (router: ConnectRouter) => void {
  return (router) => {
    const services: DescService[] = [];
    if (served.ingest !== undefined) services.push(collector(router, served.ingest));
    if (served.answersQueries) services.push(...queries(router, served));
    if (served.jobs !== undefined) services.push(jobs(router, served, served.jobs));
    const names = new Set(services.map((service) => service.typeName));
    router.service(Health, health(served.isReady, names));
    router.service(ServerReflection, reflection([...services, Health, ServerReflection]));
  };
}

/** What serves protobuf calls in place of the ordinary handlers of the same path. */
export function rawMethods({ ingest }: Served): RawMethods {
  return {
    routes: (router) => {
      if (ingest !== undefined) router.rpc(rawSendMetricsBatch, sendRawMetricsBatch(ingest));
    },
    setAside: setWindowsAside,
  };
}

function collector(router: ConnectRouter, ingest: Ingest): DescService {
  router.service(BillingCollectorService, {
    sendMetrics: sendMetrics(ingest),
    sendMetricsBatch: sendMetricsBatch(ingest),
  });
  return BillingCollectorService;
}

function jobs(router: ConnectRouter, { runs }: Served, runner: JobRunner): DescService {
  router.service(JobService, { runJob: runJob(runner), listJobRuns: listJobRuns(runs) });
  return JobService;
}

function queries(router: ConnectRouter, served: Served): DescService[] {
  const { billing, clickhouse, keys, known, live, usage } = served;
  router.service(BillingQueryService, {
    getCustomerUsage: getCustomerUsage(clickhouse),
    getBillingWindow: getBillingWindow(clickhouse),
    streamLiveUsage: streamLiveUsage(live),
  });
  router.service(CustomerService, {
    createCustomer: createCustomer(billing),
    listCustomers: listCustomers(billing, usage),
  });
  router.service(PlanService, {
    publishPlan: publishPlan(billing),
    listPlans: listPlans(billing),
    subscribe: subscribe(billing),
  });
  router.service(InvoiceService, { getInvoice: getInvoice(billing), listInvoices: listInvoices(billing) });
  router.service(KeyService, {
    createKey: createKey(keys),
    listKeys: listKeys(keys),
    revokeKey: revokeKey(keys, known),
  });
  router.service(AuditService, { listAuditRecords: listAuditRecords(billing) });
  return [BillingQueryService, CustomerService, PlanService, InvoiceService, KeyService, AuditService];
}
