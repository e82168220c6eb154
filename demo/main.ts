import { parseArgs } from 'node:util';
import { closeMonth, readInvoice, readUsage } from './close-month.ts';
import { freeAddress, type MeterdProcess, startMeterd, stopMeterd } from './meterd-process.ts';
import { Progress } from '../src/cli/progress.ts';
import { replay } from './replay.ts';
import { toJson, toText } from './report.ts';
import { createHostKeys, registerCustomer, revokeHostKeys, subscribe } from './set-up.ts';
import { type WorkedExample, workedExample } from './worked-example.ts';

const USAGE = `Usage: npm run demo [-- --once] [--json]

Starts meterd on ./data (METERD_DATA_DIR), replays the worked example month as hosts would send it, closes the month and
prints usage and invoice. meterd stays up to be looked at.

  --once   stop meterd at the end
  --json   print one JSON object as the last line
`;

const WINDOWS_PER_BATCH = 600;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { once: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const dataDir = process.env['METERD_DATA_DIR'] || './data';
  const listen = process.env['METERD_LISTEN'] || (await freeAddress());
  process.stderr.write(`Starting meterd on ${dataDir} …\n`);
  const meterd = await startMeterd(dataDir, { METERD_LISTEN: listen });
  // A signal from the terminal reaches meterd too; the demo leaves when it has left.
  process.once('SIGINT', () => void stopMeterd(meterd));
  process.once('SIGTERM', () => void stopMeterd(meterd));
  const example = workedExample(Date.now());
  try {
    const json = await run(meterd, example);
    if (values.once !== true) process.stdout.write(invitation(meterd, example, dataDir));
    if (values.json === true) process.stdout.write(`${JSON.stringify(json)}\n`);
  } catch (reason) {
    await stopMeterd(meterd);
    throw reason;
  }
  if (values.once === true) await stopMeterd(meterd);
}

async function run(meterd: MeterdProcess, example: WorkedExample): Promise<object> {
  await registerCustomer(meterd, example);
  const hostKeys = await createHostKeys(meterd, example);
  const progress = new Progress('Sending windows');
  const startedMs = performance.now();
  const replayed = await replay(example, {
    url: meterd.url,
    hostKeys,
    windowsPerBatch: WINDOWS_PER_BATCH,
    onAcknowledged: ({ sent }) => progress.show(sent, example.windowCount),
  });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  process.stderr.write(`Sent in ${seconds} s: ${replayed.accepted} accepted, ${replayed.duplicate} duplicates\n`);
  await revokeHostKeys(meterd, hostKeys);
  await subscribe(meterd, example);
  process.stderr.write(`Rolling up and closing ${example.period} …\n`);
  await closeMonth(meterd, example);
  const usage = await readUsage(meterd, example);
  const invoice = await readInvoice(meterd, example);
  process.stdout.write(`\n${toText(example, usage, invoice)}\n`);
  return toJson(replayed, usage, invoice);
}

function invitation(meterd: MeterdProcess, example: WorkedExample, dataDir: string): string {
  const start = new Date(example.startMs).toISOString();
  const end = new Date(example.endMs).toISOString();
  const curl = (method: string, body: object): string =>
    `  curl -s ${meterd.url}/billing.v1.${method} -H "Authorization: Bearer $(cat ${dataDir}/admin.key)" \\\n` +
    `    -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'\n`;
  return `
meterd is running: look at ${meterd.url}/ (Ctrl-C stops it)

Three commands to try:
${curl('BillingQueryService/GetCustomerUsage', { customerId: example.customerId, start, end, groupBy: ['USAGE_DIMENSION_DAY'] })}
${curl('InvoiceService/ListInvoices', { customerId: example.customerId })}
${curl('AuditService/ListAuditRecords', { pageSize: 10 })}
`;
}

await main();
