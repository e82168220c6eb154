import { call, stream } from './rpc.js';

const HOUR_NANOS = 3_600_000_000_000n;
const GB_HOUR_BYTE_SECONDS = 3_600_000_000_000n;
const GB_BYTES = 1_000_000_000n;
const DAY_MS = 86_400_000;

const byId = (id) => document.getElementById(id);
/** Ends what the page is showing, the live stream above all, before it shows something else. */
let shown = new AbortController();

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/** A quotient of whole numbers with two places, never through a float. */
function decimal(dividend, divisor) {
  const hundredths = (BigInt(dividend) * 100n) / divisor;
  const places = String(hundredths % 100n).padStart(2, '0');
  return `${(hundredths / 100n).toLocaleString('en')}.${places}`;
}

function table(target, head, rows, total) {
  const row = (cells, cell) => element('tr', {}, ...cells.map((text) => element(cell, {}, text)));
  const body = rows.map((cells) => row(cells, 'td'));
  if (total !== undefined) {
    const last = row(total, 'td');
    last.className = 'total';
    body.push(last);
  }
  target.replaceChildren(element('thead', {}, row(head, 'th')), element('tbody', {}, ...body));
}

const USAGE_HEAD = ['Region', 'VM-hours', 'Core-hours', 'Memory GB-h', 'Disk GB', 'Network GB', 'Windows'];

function usageCells(name, sums) {
  return [
    name,
    decimal(sums.observedNanos, HOUR_NANOS),
    decimal(sums.cpuTimeNanos, HOUR_NANOS),
    decimal(sums.memoryByteSeconds, GB_HOUR_BYTE_SECONDS),
    decimal(BigInt(sums.diskReadBytes) + BigInt(sums.diskWriteBytes), GB_BYTES),
    decimal(BigInt(sums.networkRxBytes) + BigInt(sums.networkTxBytes), GB_BYTES),
    BigInt(sums.windows).toLocaleString('en'),
  ];
}

function showSums({ total, completeness }) {
  const [, ...values] = usageCells('', total);
  const cards = USAGE_HEAD.slice(1).map((name, i) => [name, values[i]]);
  cards.push(['Complete', `${decimal(BigInt(Math.round(Number(completeness.ratio) * 1e6)), 10_000n)} %`]);
  byId('sums').replaceChildren(
    ...cards.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))),
  );
  const { gaps, gapNanos, conflicts } = completeness;
  byId('gaps').textContent =
    gaps === '0' && conflicts === '0'
      ? 'No gaps, no conflicts.'
      : `${gaps} gaps of ${decimal(gapNanos, HOUR_NANOS)} VM-hours in all; ${conflicts} conflicting windows.`;
}

/** VM-hours of each day as bars. */
function showDays(groups, start, end) {
  const days = Math.round((end - start) / DAY_MS);
  const hours = Array.from({ length: days }, () => 0);
  for (const group of groups) {
    const day = Math.floor((Date.parse(group.start) - start) / DAY_MS);
    hours[day] = Number(BigInt(group.quantities.observedNanos) / 1_000_000n) / 3_600_000;
  }
  const most = Math.max(...hours, 1);
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', `0 0 ${days * 10} 100`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `VM-hours of each day, ${most.toFixed(2)} at most`);
  hours.forEach((value, day) => {
    const bar = document.createElementNS(svg.namespaceURI, 'rect');
    const height = (value / most) * 98;
    for (const [name, at] of Object.entries({ x: day * 10 + 1, y: 100 - height, width: 8, height })) {
      bar.setAttribute(name, at);
    }
    const title = document.createElementNS(svg.namespaceURI, 'title');
    title.textContent = `${new Date(start + day * DAY_MS).toISOString().slice(0, 10)}: ${value.toFixed(2)} VM-hours`;
    bar.append(title);
    svg.append(bar);
  });
  byId('days').replaceChildren(svg, element('span', { class: 'faint' }, `VM-hours a day, ${most.toFixed(2)} at most`));
}

async function showUsage(key, customerId, month, signal) {
  const [year, number] = month.split('-').map(Number);
  const start = Date.UTC(year, number - 1);
  const end = Date.UTC(year, number);
  const range = { customerId, start: new Date(start).toISOString(), end: new Date(end).toISOString() };
  const usage = (dimension) =>
    call(key, 'BillingQueryService/GetCustomerUsage', { ...range, groupBy: [`USAGE_DIMENSION_${dimension}`] }, signal);
  const [byRegion, byDay] = await Promise.all([usage('REGION'), usage('DAY')]);
  showSums(byRegion);
  showDays(byDay.groups, start, end);
  const rows = byRegion.groups.map((group) => usageCells(group.region, group.quantities));
  table(byId('regions'), USAGE_HEAD, rows, usageCells('all', byRegion.total));
}

async function showInvoices(key, customerId, signal) {
  const { invoices } = await call(key, 'InvoiceService/ListInvoices', { customerId }, signal);
  const made = invoices.map((invoice) => {
    const lines = element('table');
    const head = ['Line', 'Quantity', 'Unit', 'Price', `Amount ${invoice.currency}`];
    const rows = invoice.lines.map((line) => [line.description, line.quantity, line.unit, line.unitPrice, line.amount]);
    table(lines, head, rows, ['Total', '', '', '', invoice.total]);
    const state = invoice.state.replace('INVOICE_STATE_', '').toLowerCase();
    const summary = element(
      'summary',
      {},
      element('span', {}, invoice.number || 'draft'),
      element('span', { class: 'faint' }, `${invoice.periodStart.slice(0, 7)} · ${state}`),
      element('strong', {}, `${invoice.total} ${invoice.currency}`),
    );
    return element('details', {}, summary, lines);
  });
  made[0]?.setAttribute('open', '');
  byId('invoices').replaceChildren(...(made.length === 0 ? ['No invoices yet.'] : made));
}

/** Sums what comes in since the page was opened, per VM; goes on behind the last update when the connection breaks. */
async function showLive(key, customerId, signal) {
  const seen = new Map();
  let resumeToken = '';
  const draw = () => {
    const rows = [...seen.values()].map(({ vmId, region, windows, cpu, end }) => {
      return [vmId, region, String(windows), `${decimal(cpu, 1_000_000_000n)} s`, end];
    });
    table(byId('live'), ['VM', 'Region', 'Windows', 'CPU time', 'Up to'], rows);
  };
  draw();
  while (!signal.aborted) {
    try {
      const updates = stream(key, 'BillingQueryService/StreamLiveUsage', { customerId, resumeToken }, signal);
      byId('live-state').textContent = 'Connected: windows show up here as hosts send them.';
      for await (const update of updates) {
        resumeToken = update.resumeToken;
        for (const { vmId, region, end, quantities } of update.usage) {
          const sum = seen.get(`${vmId} ${region}`) ?? { vmId, region, windows: 0n, cpu: 0n };
          sum.windows += BigInt(quantities.windows);
          sum.cpu += BigInt(quantities.cpuTimeNanos);
          sum.end = end;
          seen.set(`${vmId} ${region}`, sum);
        }
        draw();
      }
    } catch (reason) {
      if (signal.aborted) return;
      byId('live-state').textContent = `Not connected (${reason.message}); trying again.`;
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

function showTrouble(reason) {
  if (reason?.name === 'AbortError') return;
  byId('trouble').textContent = reason?.message ?? '';
  byId('trouble').hidden = reason === undefined;
}

async function show(key) {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const customerId = byId('customer').value;
  showTrouble(undefined);
  try {
    await Promise.all([showUsage(key, customerId, byId('month').value, signal), showInvoices(key, customerId, signal)]);
    byId('content').hidden = false;
  } catch (reason) {
    showTrouble(reason);
    return;
  }
  await showLive(key, customerId, signal);
}

/** Operators choose among the customers; a customer's key sees its own and needs no choice. */
async function enter(key) {
  showTrouble(undefined);
  const picked = byId('customer');
  try {
    const { customers } = await call(key, 'CustomerService/ListCustomers', { pageSize: 1000 });
    const options = customers.map(({ customerId, name }) => element('option', { value: customerId }, name));
    byId('customers').replaceChildren(...options);
    picked.value = customers[0]?.customerId ?? '';
  } catch (reason) {
    if (reason.code !== 'permission_denied') throw reason;
    picked.parentElement.hidden = true;
    picked.required = false;
  }
  sessionStorage.setItem('key', key);
  byId('sign-in').hidden = true;
  byId('pick').hidden = false;
  byId('month').value = await monthToShow(key, picked.value);
  if (picked.value !== '' || picked.parentElement.hidden) await show(key);
}

/** The month of the newest invoice, or this one. */
async function monthToShow(key, customerId) {
  const { invoices } = await call(key, 'InvoiceService/ListInvoices', { customerId, pageSize: 1 });
  return (invoices[0]?.periodStart ?? new Date().toISOString()).slice(0, 7);
}

function leave() {
  sessionStorage.removeItem('key');
  location.reload();
}

async function showReady() {
  const badge = byId('ready');
  const isReady = await fetch('/readyz').then(
    (response) => response.ok,
    () => false,
  );
  badge.textContent = isReady ? 'ready' : 'not ready';
  badge.className = `badge ${isReady ? 'good' : 'bad'}`;
}

const tryToEnter = (key) => {
  byId('sign-in').hidden = false;
  enter(key).catch(showTrouble);
};

byId('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  tryToEnter(byId('key').value.trim());
});
byId('pick').addEventListener('submit', (event) => {
  event.preventDefault();
  void show(sessionStorage.getItem('key'));
});
byId('leave').addEventListener('click', leave);

await showReady();
setInterval(showReady, 5000);
const remembered = sessionStorage.getItem('key');
if (remembered === null) byId('sign-in').hidden = false;
else tryToEnter(remembered);
