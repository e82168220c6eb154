import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { InvoiceService } from '../gen/billing/v1/invoices_pb.ts';
import type { Proof } from './billing/proof/verify-invoice.ts';
import { verifyInvoice } from './billing/proof/verify-invoice.ts';
import { type Config, readConfig } from './config.ts';
import { systemClock } from './lib/clock.ts';
import { messageOf } from './lib/failure.ts';
import { connectClickHouse, PATIENT_TIMEOUT_MS } from './storage/clickhouse/client.ts';
import { lockDataFolder } from './storage/embedded/data-lock.ts';
import { startEngines } from './storage/engines.ts';
import { connectPostgres } from './storage/postgres/client.ts';
import { UsageForBilling } from './usage/usage-for-billing.ts';

/**
 * `npm run verify -- INVOICE`: recomputes a final invoice, by its id or number, from raw windows, and names the first thing that
 * differs. Asks the meterd at METERD_URL, with the key METERD_KEY; without one it reads the engines itself, configured or
 * embedded as for meterd. Ends with 0 where the invoice is proved, with 1 where it is not, with 2 where it could not look.
 */
async function main(idOrNumber: string | undefined): Promise<void> {
  if (idOrNumber === undefined) throw new Error('usage: npm run verify -- INVOICE, by its id or number');
  const { METERD_URL: url, METERD_KEY: key } = process.env;
  const proof = url === undefined ? await verifyHere(idOrNumber) : await verifyThere(idOrNumber, url, key ?? '');
  for (const { name, holds, detail } of proof.steps) {
    process.stdout.write(`${holds ? 'holds  ' : 'DIFFERS'}  ${name.padEnd(7)}  ${detail}\n`);
  }
  process.stdout.write(`${idOrNumber} is ${proof.proved ? '' : 'NOT '}proved\n`);
  process.exitCode = proof.proved ? 0 : 1;
}

type ShownProof = Pick<Proof, 'proved'> & {
  readonly steps: readonly { readonly name: string; readonly holds: boolean; readonly detail: string }[];
};

async function verifyThere(invoiceId: string, url: string, key: string): Promise<ShownProof> {
  const transport = createConnectTransport({ baseUrl: url, httpVersion: '1.1' });
  const headers = { authorization: `Bearer ${key}` };
  return createClient(InvoiceService, transport).verifyInvoice({ invoiceId }, { headers });
}

async function verifyHere(idOrNumber: string): Promise<ShownProof> {
  const config = readConfig(process.env);
  if (Array.isArray(config)) {
    throw new Error(config.map(({ variable, allowed }) => `${variable} must be ${allowed}`).join('; '));
  }
  const isEmbedded = config.clickhouseUrl === undefined || config.databaseUrl === undefined;
  const lock = isEmbedded ? lockedByNobody(config) : undefined;
  const engines = await startEngines({ ...config, onLog: () => undefined });
  const clickhouse = connectClickHouse({ url: engines.clickhouseUrl, requestTimeoutMs: PATIENT_TIMEOUT_MS });
  const postgres = connectPostgres(engines.databaseUrl);
  try {
    const store = { db: postgres.db, clickhouse, clock: systemClock, usage: new UsageForBilling(clickhouse) };
    return await verifyInvoice(store, idOrNumber, new AbortController().signal);
  } finally {
    await postgres.close();
    await clickhouse.close();
    await engines.stop();
    lock?.release();
  }
}

function lockedByNobody({ dataDir }: Config): ReturnType<typeof lockDataFolder> {
  try {
    return lockDataFolder(dataDir);
  } catch (cause) {
    throw new Error(`${messageOf(cause)}; set METERD_URL and METERD_KEY to ask the meterd that runs`, { cause });
  }
}

try {
  await main(process.argv[2]);
} catch (reason) {
  process.stderr.write(`${messageOf(reason)}\n`);
  process.exitCode = 2;
}
