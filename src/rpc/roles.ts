import type { DescMethod, DescService } from '@bufbuild/protobuf';
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
import type { KeyRole } from '../access/key.ts';

/** Who may call a method; `public` needs no key. */
export type Callers = readonly KeyRole[] | 'public';

const HOSTS: Callers = ['collector'];
const ADMINS: Callers = ['admin'];
const STAFF: Callers = ['operator', 'admin'];
/** A customer key gets its own customer's only: each of these handlers asks `customerInScope` for it. */
const READERS: Callers = ['customer', 'operator', 'admin'];

const BILLAGED = {
  sendMetricsBatch: HOSTS,
  sendHeartbeat: HOSTS,
  notifyVmStarted: HOSTS,
  notifyVmStopped: HOSTS,
  notifyPossibleGap: HOSTS,
};

const ROLES: ReadonlyMap<string, Readonly<Record<string, Callers>>> = new Map([
  of(BillingCollectorService, { sendMetrics: HOSTS, sendMetricsBatch: HOSTS }),
  of(BillagedService, BILLAGED),
  of(OldBillagedService, BILLAGED),
  of(BillingQueryService, { getCustomerUsage: READERS, getBillingWindow: READERS, streamLiveUsage: READERS }),
  of(CustomerService, {
    createCustomer: STAFF,
    getCustomer: READERS,
    updateCustomer: STAFF,
    eraseCustomer: ADMINS,
    listErasures: STAFF,
    listCustomers: STAFF,
  }),
  of(PlanService, {
    publishPlan: STAFF,
    listPlans: STAFF,
    savePlanDraft: STAFF,
    getPlanDraft: STAFF,
    deletePlanDraft: STAFF,
    previewPlanDraft: STAFF,
    publishPlanDraft: STAFF,
    subscribe: STAFF,
    endSubscription: STAFF,
    listSubscriptions: STAFF,
    defineMetric: STAFF,
    listMetrics: STAFF,
  }),
  of(DiscountService, { createDiscount: STAFF, endDiscount: STAFF, listDiscounts: STAFF }),
  of(RateService, { putTaxRate: STAFF, listTaxRates: STAFF, putExchangeRate: STAFF, listExchangeRates: STAFF }),
  of(InvoiceService, {
    getInvoice: READERS,
    listInvoices: READERS,
    previewInvoice: READERS,
    getInvoiceDocument: READERS,
    verifyInvoice: READERS,
    listPayments: READERS,
    dryRunPeriod: STAFF,
    closeCustomer: STAFF,
    listClosings: STAFF,
    voidInvoice: STAFF,
    reissueInvoice: STAFF,
    addManualLine: STAFF,
    removeManualLine: STAFF,
    listManualLines: STAFF,
    recordPayment: STAFF,
    reversePayment: STAFF,
    putSeller: STAFF,
    getSeller: STAFF,
  }),
  of(CreditNoteService, {
    createCreditNote: STAFF,
    getCreditNote: READERS,
    getCreditNoteDocument: READERS,
    listCreditNotes: READERS,
  }),
  of(LedgerService, { getBalances: STAFF, listPostings: STAFF }),
  of(ConflictService, { listConflicts: STAFF, resolveConflict: STAFF }),
  of(RefusedWindowService, { listRefusedWindows: STAFF }),
  of(GapService, { listGaps: READERS }),
  of(JobService, { runJob: STAFF, listJobRuns: STAFF }),
  of(AuditService, { listAuditRecords: STAFF, verifyAudit: STAFF }),
  of(BackupService, { createBackup: ADMINS }),
  of(KeyService, { createKey: ADMINS, listKeys: ADMINS, revokeKey: ADMINS }),
  of(SecretService, { putSecret: ADMINS, listSecrets: ADMINS, deleteSecret: ADMINS, rotateSecrets: ADMINS }),
  of(Health, { check: 'public', watch: 'public' }),
  of(ServerReflection, { serverReflectionInfo: 'public' }),
]);

/** A method that is not in the table can be called by nobody. */
export function callersOf(method: DescMethod): Callers {
  return ROLES.get(method.parent.typeName)?.[method.localName] ?? [];
}

/** Takes every method of the service and no other, or the table does not compile. */
function of<T extends DescService>(
  service: T,
  methods: Readonly<Record<keyof T['method'] & string, Callers>>,
): [string, Readonly<Record<string, Callers>>] {
  return [service.typeName, methods];
}
