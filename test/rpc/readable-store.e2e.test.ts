import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { type DescMessage, type MessageShape, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Client } from 'pg';
import { afterAll, expect, it } from 'vitest';
import { fillTenant } from '../../chaos/tenant.ts';
import { clientOf } from '../../demo/clients.ts';
import { CreditNoteService, GetCreditNoteResponseSchema } from '../../gen/billing/v1/credit_notes_pb.ts';
import { CustomerService, GetCustomerResponseSchema } from '../../gen/billing/v1/customers_pb.ts';
import { GapService, ListGapsResponseSchema } from '../../gen/billing/v1/gaps_pb.ts';
import {
  DocumentFormat,
  GetInvoiceDocumentResponseSchema,
  GetInvoiceResponseSchema,
  InvoiceService,
  ListInvoicesResponseSchema,
  ListPaymentsResponseSchema,
  PreviewInvoiceResponseSchema,
  VerifyInvoiceResponseSchema,
} from '../../gen/billing/v1/invoices_pb.ts';
import { KeyRole } from '../../gen/billing/v1/keys_pb.ts';
import { BillingQueryService, GetCustomerUsageResponseSchema } from '../../gen/billing/v1/query_pb.ts';
import { createPostgresDatabase, newClickHouseUrl } from '../database.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

/** Whether each statement that ClickHouse was sent came with filters. */
const filtered: boolean[] = [];
const databaseUrl = await createPostgresDatabase();
const meterd = await meterdForTest({
  CLICKHOUSE_URL: await watched(newClickHouseUrl()),
  DATABASE_URL: databaseUrl,
  // One test takes rights away, which is logged at length.
  METERD_LOG_LEVEL: 'silent',
  METERD_INVOICE_GRACE_HOURS: '0',
  METERD_ROLLUP_SCHEDULE: '0 0 29 2 *',
  METERD_INVOICE_SCHEDULE: '0 0 29 2 *',
});
const DAY_MS = 86_400_000;

it("answers a customer's key about its own customer as it answers an operator's", async () => {
  const { customerId } = await fillTenant(meterd, 'mine');
  await fillTenant(meterd, 'theirs');
  const own = await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: [customerId] });
  const admins = clientOf(InvoiceService, meterd.url, meterd.adminKey);
  const [invoice] = (await admins.listInvoices({ customerId })).invoices;
  if (invoice === undefined) throw new Error('there is no invoice');
  const { invoiceId } = invoice;
  const paid = { invoiceId, amount: '0.01', paidAt: timestampFromMs(Date.now()), method: 'card', reference: 'r' };
  await admins.recordPayment({ ...paid, idempotencyKey: 'p' });
  const notes = clientOf(CreditNoteService, meterd.url, meterd.adminKey);
  const lines = [{ invoiceLine: 1, amount: '0.01' }];
  const { creditNote } = await notes.createCreditNote({ invoiceId, reason: 'r', lines, idempotencyKey: 'c' });
  const creditNoteId = creditNote?.creditNoteId ?? '';
  const untilMs = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const range = { start: timestampFromMs(untilMs - 30 * DAY_MS), end: timestampFromMs(untilMs) };
  const period = invoice.period;

  const answersTo = async (key: string): Promise<string[]> => {
    const invoices = clientOf(InvoiceService, meterd.url, key);
    const credits = clientOf(CreditNoteService, meterd.url, key);
    const csv = { invoiceId, format: DocumentFormat.CSV };
    return [
      text(GetCustomerResponseSchema, await clientOf(CustomerService, meterd.url, key).getCustomer({ customerId })),
      text(
        GetCustomerUsageResponseSchema,
        await clientOf(BillingQueryService, meterd.url, key).getCustomerUsage({ customerId, ...range }),
      ),
      text(ListGapsResponseSchema, await clientOf(GapService, meterd.url, key).listGaps({ customerId, ...range })),
      text(GetInvoiceResponseSchema, await invoices.getInvoice({ invoiceId })),
      text(ListInvoicesResponseSchema, await invoices.listInvoices({ customerId })),
      text(PreviewInvoiceResponseSchema, await invoices.previewInvoice({ customerId, period })),
      text(GetInvoiceDocumentResponseSchema, await invoices.getInvoiceDocument(csv)),
      // What is backfilled comes on record some time later, and so may do between the two.
      text(VerifyInvoiceResponseSchema, await invoices.verifyInvoice({ invoiceId })).replace(/and \d+ records/, ''),
      text(ListPaymentsResponseSchema, await invoices.listPayments({ invoiceId })),
      text(GetCreditNoteResponseSchema, await credits.getCreditNote({ creditNoteId })),
    ];
  };
  const [seen, expected] = [await answersTo(own), await answersTo(meterd.adminKey)];
  expect(seen).toEqual(expected);
  const [customer, usage, , , , preview, , proof, payments, note] = seen;
  expect(customer).toContain('Title of mine');
  expect(usage).toContain('"cpuTimeNanos":"21600000000000"');
  expect(preview).toContain('"meter":"cpu"');
  expect(proof).toContain('"proved":true');
  expect(payments).toContain('0.01');
  expect(note).toContain(creditNoteId);
}, 60_000);

it('reads for a customer as that customer, and for nobody else', async () => {
  const { customerId } = await fillTenant(meterd, 'watched');
  const own = await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: [customerId] });
  const untilMs = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const range = { start: timestampFromMs(untilMs - DAY_MS), end: timestampFromMs(untilMs) };
  for (const key of [own, meterd.adminKey]) {
    const calls = [
      () => clientOf(BillingQueryService, meterd.url, key).getCustomerUsage({ customerId, ...range }),
      () => clientOf(GapService, meterd.url, key).listGaps({ customerId, ...range }),
      () => clientOf(InvoiceService, meterd.url, key).previewInvoice({ customerId }),
    ];
    for (const call of calls) {
      filtered.length = 0;
      await call();
      expect(filtered.includes(true)).toBe(key === own);
    }
  }
  const owner = new Client({ connectionString: databaseUrl });
  await owner.connect();
  await owner.query('REVOKE SELECT ON customers, invoices, credit_notes FROM meterd_customer');
  await owner.end();
  const outcomes = async (key: string): Promise<string[]> => {
    const invoices = clientOf(InvoiceService, meterd.url, key);
    const calls = [
      clientOf(CustomerService, meterd.url, key).getCustomer({ customerId }),
      invoices.listInvoices({ customerId }),
      invoices.previewInvoice({ customerId }),
      clientOf(CreditNoteService, meterd.url, key).listCreditNotes({ customerId }),
    ];
    return (await Promise.allSettled(calls)).map(({ status }) => status);
  };
  expect(await outcomes(own)).toEqual(Array(4).fill('rejected'));
  expect(await outcomes(meterd.adminKey)).toEqual(Array(4).fill('fulfilled'));
}, 60_000);

/** Passes all on to ClickHouse and notes which statements come with filters. @returns where it listens */
async function watched(target: string): Promise<string> {
  const url = new URL(target);
  const targetPort = url.port;
  const server = createServer((request, response) => {
    const parameters = new URL(request.url ?? '', target).searchParams;
    filtered.push(parameters.has('additional_table_filters'));
    const { method, headers, url: path } = request;
    const to = { host: url.hostname, port: targetPort, method, headers, path, agent: false as const };
    const passed = httpRequest(to, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    request.pipe(passed);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterAll(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  url.port = String(address.port);
  return url.href;
}

function text<D extends DescMessage>(schema: D, message: MessageShape<D>): string {
  return toJsonString(schema, message);
}
