import type { DescService } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import type { ClickHouseClient } from '@clickhouse/client';
import type { PostgresPool } from 'kysely';
import { BillingService as BillagedService } from '../../gen/billaged/v1/billing_pb.ts';
import { AuditService } from '../../gen/billing/v1/audit_pb.ts';
import { BillingService as OldBillagedService } from '../../gen/billing/v1/billaged_pb.ts';
import { BackupService } from '../../gen/billing/v1/backup_pb.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { ConflictService } from '../../gen/billing/v1/conflicts_pb.ts';
import { CreditNoteService } from '../../gen/billing/v1/credit_notes_pb.ts';
import { CustomerService } from '../../gen/billing/v1/customers_pb.ts';
import { DiscountService } from '../../gen/billing/v1/discounts_pb.ts';
import { GapService } from '../../gen/billing/v1/gaps_pb.ts';
import { InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { LedgerService } from '../../gen/billing/v1/ledger_pb.ts';
import { PlanService } from '../../gen/billing/v1/plans_pb.ts';
import { BillingQueryService } from '../../gen/billing/v1/query_pb.ts';
import { RateService } from '../../gen/billing/v1/rates_pb.ts';
import { RefusedWindowService } from '../../gen/billing/v1/refused_pb.ts';
import { SecretService } from '../../gen/billing/v1/secrets_pb.ts';
import { Health } from '../../gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import type { KeyStore } from '../access/key-store.ts';
import type { KnownKeys } from '../access/known-keys.ts';
import type { BackupStore } from '../backup/create-backup.ts';
import type { SecretStore } from '../access/secrets/secret-store.ts';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import type { Ingest } from '../ingest/accept-batch.ts';
import type { Lifecycle } from '../ingest/accept-lifecycle.ts';
import type { JobRuns } from '../jobs/job-runs.ts';
import type { LiveHub } from '../usage/live.ts';
import type { UsageForBilling } from '../usage/usage-for-billing.ts';
import { addManualLine } from './add-manual-line.ts';
import { billagedNotifyPossibleGap } from './billaged-notify-possible-gap.ts';
import { billagedNotifyVmStarted } from './billaged-notify-vm-started.ts';
import { billagedNotifyVmStopped } from './billaged-notify-vm-stopped.ts';
import { billagedSendHeartbeat } from './billaged-send-heartbeat.ts';
import { billagedSendMetricsBatch } from './billaged-send-metrics-batch.ts';
import { closeCustomer } from './close-customer.ts';
import { createBackup } from './create-backup.ts';
import { createCreditNote } from './create-credit-note.ts';
import { createCustomer } from './create-customer.ts';
import { createDiscount } from './create-discount.ts';
import { createKey } from './create-key.ts';
import { defineMetric } from './define-metric.ts';
import { deleteSecret } from './delete-secret.ts';
import { deletePlanDraft } from './delete-plan-draft.ts';
import { dryRunPeriod } from './dry-run-period.ts';
import { endDiscount } from './end-discount.ts';
import { endSubscription } from './end-subscription.ts';
import { eraseCustomer } from './erase-customer.ts';
import { getBalances } from './get-balances.ts';
import { getBillingWindow } from './get-billing-window.ts';
import { getCreditNoteDocument } from './get-credit-note-document.ts';
import { getCreditNote } from './get-credit-note.ts';
import { getCustomer } from './get-customer.ts';
import { getCustomerUsage } from './get-customer-usage.ts';
import { getInvoice } from './get-invoice.ts';
import { getInvoiceDocument } from './get-invoice-document.ts';
import { getPlanDraft } from './get-plan-draft.ts';
import { getSeller } from './get-seller.ts';
import { health } from './health.ts';
import { listAuditRecords } from './list-audit-records.ts';
import { listClosings } from './list-closings.ts';
import { listCreditNotes } from './list-credit-notes.ts';
import { listConflicts } from './list-conflicts.ts';
import { listCustomers } from './list-customers.ts';
import { listDiscounts } from './list-discounts.ts';
import { listErasures } from './list-erasures.ts';
import { listExchangeRates } from './list-exchange-rates.ts';
import { listGaps } from './list-gaps.ts';
import { listInvoices } from './list-invoices.ts';
import { listJobRuns } from './list-job-runs.ts';
import { listKeys } from './list-keys.ts';
import { listManualLines } from './list-manual-lines.ts';
import { listMetrics } from './list-metrics.ts';
import { listPayments } from './list-payments.ts';
import { listPlans } from './list-plans.ts';
import { listPostings } from './list-postings.ts';
import { listRefusedWindows } from './list-refused-windows.ts';
import { listSecrets } from './list-secrets.ts';
import { listSubscriptions } from './list-subscriptions.ts';
import { listTaxRates } from './list-tax-rates.ts';
import { previewInvoice } from './preview-invoice.ts';
import { previewPlanDraft } from './preview-plan-draft.ts';
import { publishPlan } from './publish-plan.ts';
import { publishPlanDraft } from './publish-plan-draft.ts';
import { putExchangeRate } from './put-exchange-rate.ts';
import { putSecret } from './put-secret.ts';
import { putSeller } from './put-seller.ts';
import { putTaxRate } from './put-tax-rate.ts';
import { type Readable, type ReadableStore, readableStore } from './readable-store.ts';
import { recordPayment } from './record-payment.ts';
import { reflection } from './reflection.ts';
import { resolveConflict } from './resolve-conflict.ts';
import { reissueInvoice } from './reissue-invoice.ts';
import { removeManualLine } from './remove-manual-line.ts';
import { reversePayment } from './reverse-payment.ts';
import { revokeKey } from './revoke-key.ts';
import { type JobRunner, runJob } from './run-job.ts';
import { rotateSecrets } from './rotate-secrets.ts';
import { savePlanDraft } from './save-plan-draft.ts';
import { sendMetrics } from './send-metrics.ts';
import type { RawMethods } from './http-handler.ts';
import { rawSendMetricsBatch, sendMetricsBatch, sendRawMetricsBatch, setWindowsAside } from './send-metrics-batch.ts';
import { streamLiveUsage } from './stream-live-usage.ts';
import { subscribe } from './subscribe.ts';
import { updateCustomer } from './update-customer.ts';
import { verifyAudit } from './verify-audit.ts';
import { verifyInvoice } from './verify-invoice.ts';
import { voidInvoice } from './void-invoice.ts';

/** What the RPCs of this process are served from. Where a role's part is `undefined`, its services are not served. */
export interface Served {
  readonly keys: KeyStore;
  readonly known: KnownKeys;
  readonly secrets: SecretStore;
  readonly billing: InvoicingStore;
  /** The connections that customers read by. */
  readonly readers: PostgresPool;
  readonly backup: BackupStore;
  readonly usage: UsageForBilling;
  readonly clickhouse: ClickHouseClient;
  /** How long windows and readings are kept. */
  readonly rawDays: number;
  readonly runs: JobRuns;
  readonly isReady: () => boolean;
  /** Role collector. */
  readonly ingest: Ingest | undefined;
  readonly lifecycle: Lifecycle | undefined;
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
    services.push(...collector(router, served));
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

function collector(router: ConnectRouter, { ingest, lifecycle }: Served): DescService[] {
  if (ingest === undefined || lifecycle === undefined) return [];
  router.service(BillingCollectorService, {
    sendMetrics: sendMetrics(ingest),
    sendMetricsBatch: sendMetricsBatch(ingest),
  });
  const billaged = {
    sendMetricsBatch: billagedSendMetricsBatch(ingest.readings),
    sendHeartbeat: billagedSendHeartbeat(lifecycle),
    notifyVmStarted: billagedNotifyVmStarted(lifecycle),
    notifyVmStopped: billagedNotifyVmStopped(lifecycle),
    notifyPossibleGap: billagedNotifyPossibleGap(lifecycle),
  };
  router.service(BillagedService, billaged);
  router.service(OldBillagedService, billaged);
  return [BillingCollectorService, BillagedService, OldBillagedService];
}

function jobs(router: ConnectRouter, { runs }: Served, runner: JobRunner): DescService {
  router.service(JobService, { runJob: runJob(runner), listJobRuns: listJobRuns(runs) });
  return JobService;
}

function queries(router: ConnectRouter, served: Served): DescService[] {
  const { backup, billing, clickhouse, known, live, rawDays, usage } = served;
  const readable = readableStore({ ...billing, clickhouse }, served.readers);
  router.service(BillingQueryService, {
    getCustomerUsage: getCustomerUsage(readable),
    getBillingWindow: getBillingWindow(readable),
    streamLiveUsage: streamLiveUsage(live),
  });
  router.service(CustomerService, {
    createCustomer: createCustomer(billing),
    getCustomer: getCustomer(readable),
    updateCustomer: updateCustomer(billing),
    listCustomers: listCustomers(billing, usage),
    eraseCustomer: eraseCustomer(billing, clickhouse, known),
    listErasures: listErasures(billing),
  });
  router.service(ConflictService, {
    listConflicts: listConflicts(clickhouse),
    resolveConflict: resolveConflict(billing, clickhouse, rawDays),
  });
  router.service(RefusedWindowService, { listRefusedWindows: listRefusedWindows(clickhouse) });
  router.service(GapService, { listGaps: listGaps(readable) });
  const credentialServices = credentials(router, served);
  router.service(AuditService, {
    listAuditRecords: listAuditRecords(billing),
    verifyAudit: verifyAudit(billing, clickhouse),
  });
  router.service(BackupService, { createBackup: createBackup(backup) });
  const priceServices = prices(router, billing);
  const invoiceServices = invoices(router, readable, { ...billing, clickhouse });
  const usageServices = [BillingQueryService, ConflictService, RefusedWindowService, GapService];
  return [
    ...usageServices,
    CustomerService,
    ...priceServices,
    ...invoiceServices,
    ...credentialServices,
    AuditService,
    BackupService,
  ];
}

/** Who may call meterd, and what meterd calls others with. */
function credentials(router: ConnectRouter, { keys, known, secrets, billing }: Served): DescService[] {
  router.service(KeyService, {
    createKey: createKey(keys),
    listKeys: listKeys(keys),
    revokeKey: revokeKey(keys, known),
  });
  router.service(SecretService, {
    putSecret: putSecret(secrets, billing),
    listSecrets: listSecrets(secrets),
    deleteSecret: deleteSecret(secrets),
    rotateSecrets: rotateSecrets(secrets),
  });
  return [KeyService, SecretService];
}

/** What usage costs. */
function prices(router: ConnectRouter, billing: InvoicingStore): DescService[] {
  router.service(PlanService, {
    publishPlan: publishPlan(billing),
    listPlans: listPlans(billing),
    savePlanDraft: savePlanDraft(billing),
    getPlanDraft: getPlanDraft(billing),
    deletePlanDraft: deletePlanDraft(billing),
    previewPlanDraft: previewPlanDraft(billing),
    publishPlanDraft: publishPlanDraft(billing),
    subscribe: subscribe(billing),
    endSubscription: endSubscription(billing),
    listSubscriptions: listSubscriptions(billing),
    defineMetric: defineMetric(billing),
    listMetrics: listMetrics(billing),
  });
  router.service(DiscountService, {
    createDiscount: createDiscount(billing),
    endDiscount: endDiscount(billing),
    listDiscounts: listDiscounts(billing),
  });
  router.service(RateService, {
    putTaxRate: putTaxRate(billing),
    listTaxRates: listTaxRates(billing),
    putExchangeRate: putExchangeRate(billing),
    listExchangeRates: listExchangeRates(billing),
  });
  return [PlanService, DiscountService, RateService];
}

/** What customers owe, what was paid, and the books of both. */
function invoices(router: ConnectRouter, readable: Readable, billing: ReadableStore): DescService[] {
  router.service(InvoiceService, {
    getInvoice: getInvoice(readable),
    listInvoices: listInvoices(readable),
    previewInvoice: previewInvoice(readable),
    dryRunPeriod: dryRunPeriod(billing),
    closeCustomer: closeCustomer(billing),
    listClosings: listClosings(billing),
    voidInvoice: voidInvoice(billing),
    reissueInvoice: reissueInvoice(billing),
    addManualLine: addManualLine(billing),
    removeManualLine: removeManualLine(billing),
    listManualLines: listManualLines(billing),
    recordPayment: recordPayment(billing),
    reversePayment: reversePayment(billing),
    listPayments: listPayments(readable),
    getInvoiceDocument: getInvoiceDocument(readable),
    verifyInvoice: verifyInvoice(readable, billing),
    putSeller: putSeller(billing),
    getSeller: getSeller(billing),
  });
  router.service(CreditNoteService, {
    createCreditNote: createCreditNote(billing),
    getCreditNote: getCreditNote(readable),
    getCreditNoteDocument: getCreditNoteDocument(readable),
    listCreditNotes: listCreditNotes(readable),
  });
  router.service(LedgerService, { getBalances: getBalances(billing), listPostings: listPostings(billing) });
  return [InvoiceService, CreditNoteService, LedgerService];
}
