import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Key } from '../access/key.ts';
import { toConnectError } from '../rpc/errors.ts';
import { type Page, send } from '../rpc/http-handler.ts';
import type { NodeRequest, NodeResponse } from '../rpc/node-http.ts';

/** Why the process cannot do its work now; empty where it can. */
export type Readiness = () => readonly string[];

export interface PagesOptions {
  readonly readiness: Readiness;
  /** What is not as it should be and keeps the process from nothing that it must do now. */
  readonly notes: () => readonly string[];
  readonly scrape: () => Promise<string>;
  readonly authenticate: (authorization: string | null) => Promise<Key>;
}

const PAGE_FOLDER = new URL('page/', import.meta.url);
const PAGE_FILES = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/page.css', 'page.css', 'text/css; charset=utf-8'],
  ['/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/rpc.js', 'rpc.js', 'text/javascript; charset=utf-8'],
] as const;
/** The page loads nothing from elsewhere, and nobody else's page may frame it. */
const SECURITY_POLICY =
  "default-src 'self'; img-src data:; frame-ancestors 'none'; form-action 'none'; base-uri 'none'";
const TEXT = 'text/plain; charset=utf-8';
const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8';
const LOOPBACK = /^(127\.|::1$|::ffff:127\.)/;

/** What is served beside the RPCs: the page to look at, health, readiness, metrics. */
export function pages(options: PagesOptions): ReadonlyMap<string, Page> {
  const files = PAGE_FILES.map(([path, name, type]): [string, Page] => {
    const body = readFileSync(fileURLToPath(new URL(name, PAGE_FOLDER)));
    return [path, getOnly((_, response) => sendPage(response, type, body))];
  });
  return new Map<string, Page>([
    ...files,
    ['/healthz', getOnly((_, response) => send(response, 200, TEXT, 'ok\n'))],
    ['/readyz', getOnly((_, response) => sendReadiness(response, options))],
    ['/metrics', getOnly((request, response) => sendMetrics(request, response, options))],
  ]);
}

function getOnly(page: Page): Page {
  return (request, response) => {
    if (request.method === 'GET' || request.method === 'HEAD') return page(request, response);
    response.setHeader('allow', 'GET, HEAD');
    return send(response, 405, TEXT, `${request.method} is not possible here; GET is\n`);
  };
}

function sendPage(response: NodeResponse, type: string, body: Buffer): void {
  response.setHeader('content-security-policy', SECURITY_POLICY);
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('referrer-policy', 'no-referrer');
  response.setHeader('cache-control', 'no-cache');
  send(response, 200, type, body);
}

function sendReadiness(response: NodeResponse, { readiness, notes }: PagesOptions): void {
  const reasons = readiness();
  if (reasons.length === 0) send(response, 200, TEXT, `${['ready', ...notes()].join('\n')}\n`);
  else send(response, 503, TEXT, `${reasons.join('\n')}\n`);
}

/** Metrics hold no customer's data, but they are nobody's business outside this machine without a key. */
async function sendMetrics(request: NodeRequest, response: NodeResponse, options: PagesOptions): Promise<void> {
  if (!LOOPBACK.test(request.socket.remoteAddress ?? '')) {
    try {
      const key = await options.authenticate(request.headers.authorization ?? null);
      if (key.role !== 'operator' && key.role !== 'admin') {
        send(
          response,
          403,
          TEXT,
          `metrics need a key of role operator or admin; key ${key.keyId} is of role ${key.role}\n`,
        );
        return;
      }
    } catch (reason) {
      send(response, 401, TEXT, `${toConnectError(reason).rawMessage}\n`);
      return;
    }
  }
  send(response, 200, PROMETHEUS_TEXT, await options.scrape());
}
