import { setTimeout as wait } from 'node:timers/promises';
import type { Random } from '../../bench/generator/random.ts';
import { clientOf } from '../../demo/clients.ts';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { Authority, type Certificate } from '../../test/rpc/certificates.ts';
import { certificateStatus } from '../certificate-call.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import type { Site } from '../site.ts';

const REVOKED_MS_MAX = 60_000;
const POLL_MS = 250;
const LANES = 8;
const HOST = 'spiffe://cloud.example/host/1';
const METHODS = ['CustomerService/ListCustomers', 'KeyService/ListKeys', 'BillingCollectorService/SendMetricsBatch'];

export const auth: Row = {
  name: 'auth',
  promise: 'No credential is taken but a whole one that works, and a revoked one ends everywhere within 60 s.',
  trials: { full: 20_000, quick: 1000 },
  tools: ['openssl'],
  async run({ trials, random, folder, site: newSite, note }: Context): Promise<Finding> {
    const site = await newSite();
    const meterd = await site.start();
    const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
    const good = (await keys.createKey({ name: 'good', role: KeyRole.OPERATOR })).secret;
    const gone = await keys.createKey({ name: 'gone', role: KeyRole.ADMIN });
    await keys.revokeKey({ keyId: gone.key?.keyId ?? '' });
    const wrong: string[] = [];
    const counts = { tried: 0, accepted: 0, otherwise: 0 };
    const lane = async (): Promise<void> => {
      while (counts.tried < trials) {
        counts.tried++;
        const headers = forged(random, [good, meterd.adminKey], gone.secret);
        const status = await statusOf(meterd, random.pick(METHODS), headers);
        if (status === 401) continue;
        if (status === 200) counts.accepted++;
        else counts.otherwise++;
        wrong.push(`${JSON.stringify(headers)} was answered ${status}`);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    // A check that refuses everything would pass: the whole key has to be taken.
    if ((await statusOf(meterd, 'CustomerService/ListCustomers', { authorization: `Bearer ${good}` })) !== 200) {
      wrong.push('a good key was refused');
    }
    const revokedMs = await untilRevoked(site, meterd);
    note(`a revoked key ended on another process after ${revokedMs} ms`);
    const certificates = await tryCertificates(site, folder, wrong);
    return {
      observed: { ...counts, ...certificates, revokedMs },
      limit: {
        tried: { atLeast: trials },
        certificates: { atLeast: 8 },
        accepted: NONE,
        otherwise: NONE,
        certificatesAccepted: NONE,
        revokedMs: { atMost: REVOKED_MS_MAX },
      },
      wrong: wrong.slice(0, 10),
    };
  },
};

type Headers = Readonly<Record<string, string>>;

/** Something like a credential that is none. */
function forged(random: Random, goods: readonly string[], revoked: string): Headers {
  const good = random.pick(goods);
  const other = random.pick(goods.filter((each) => each !== good));
  const [prefix, id, secret] = good.split('_');
  const at = random.below(good.length);
  const flipped = String.fromCharCode(good.charCodeAt(at) ^ (1 << random.below(5)));
  const claims = Buffer.from('{"sub":"admin","role":"admin","aud":"another"}').toString('base64url');
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  const texts = [
    `Bearer ${good.slice(0, at)}${flipped}${good.slice(at + 1)}`,
    `Bearer ${good.slice(0, at)}`,
    `Bearer ${good}${random.pick(['0', ' x', '_', '\t'])}`.trimEnd(),
    `Bearer ${prefix}_${id}_${other.split('_')[2]}`,
    `Bearer ${prefix}_${id}_${'0'.repeat(64)}`,
    `Bearer ${prefix}_${id}_${secret?.toUpperCase()}`,
    `Bearer ${revoked}`,
    `Bearer ${none}.${claims}.`,
    `Bearer ${prefix}_${id}`,
    `Basic ${Buffer.from(`admin:${good}`).toString('base64')}`,
    `Bearer  ${good}`,
    good,
    `Token ${good}`,
    `Bearer ${good},Bearer ${other}`,
  ];
  const elsewhere: Headers[] = [{ 'x-api-key': good }, { cookie: `authorization=Bearer ${good}` }, {}];
  const text = random.pick(texts);
  // Upper-casing a secret that is all digits, or a cut at its end, can give the whole key back.
  const isWhole = goods.some((each) => text === `Bearer ${each}`);
  return random.chance(900) && !isWhole ? { authorization: text } : random.pick(elsewhere);
}

async function statusOf({ url }: MeterdProcess, method: string, headers: Headers): Promise<number> {
  const response = await fetch(`${url}/billing.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: '{}',
  });
  await response.arrayBuffer();
  return response.status;
}

/** How long a key that one process revoked is taken by another. */
async function untilRevoked(site: Site, meterd: MeterdProcess): Promise<number> {
  const beside = await site.startBeside(`${site.dataDir}-beside`);
  const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
  const made = await keys.createKey({ name: 'short', role: KeyRole.OPERATOR });
  const isTaken = async (): Promise<boolean> => {
    const headers = { authorization: `Bearer ${made.secret}` };
    return (await statusOf(beside, 'CustomerService/ListCustomers', headers)) === 200;
  };
  if (!(await isTaken())) throw new Error('a new key is not taken by another process');
  await keys.revokeKey({ keyId: made.key?.keyId ?? '' });
  const startedMs = performance.now();
  while ((await isTaken()) && performance.now() - startedMs < 2 * REVOKED_MS_MAX) await wait(POLL_MS);
  await site.stop(beside);
  return Math.round(performance.now() - startedMs);
}

async function tryCertificates(
  site: Site,
  folder: string,
  wrong: string[],
): Promise<{ certificates: number; certificatesAccepted: number }> {
  const [ours, theirs] = [new Authority(folder, 'ours'), new Authority(folder, 'theirs')];
  const server = ours.issue('IP:127.0.0.1');
  const meterd = await site.startBeside(`${site.dataDir}-tls`, {
    METERD_TLS_CERT: server.certPath,
    METERD_TLS_KEY: server.keyPath,
    METERD_TLS_CLIENT_CA: ours.certificate.certPath,
  });
  const ca = ours.certificate.cert;
  const admin = { authorization: `Bearer ${meterd.adminKey}` };
  const request = { name: 'host', role: 'KEY_ROLE_COLLECTOR', regions: ['*'], spiffeId: HOST };
  const made = await certificateStatus(meterd.url, {
    ca,
    method: 'KeyService/CreateKey',
    headers: admin,
    body: request,
  });
  if (made !== 200) throw new Error(`a key for a host could not be made: ${made}`);
  const foreign: [string, Certificate | undefined][] = [
    ['none', undefined],
    ['of another authority', theirs.issue(`URI:${HOST}`)],
    ['with two URIs', ours.issue(`URI:${HOST},URI:spiffe://cloud.example/host/2`)],
    ['with the URI twice', ours.issue(`URI:${HOST},URI:${HOST}`)],
    ['without a URI', ours.issue(`DNS:cloud.example`)],
    ['with the id as a DNS name', ours.issue(`DNS:${HOST}`)],
    ['with more behind the id', ours.issue(`URI:${HOST}/x`)],
    ['with less of the id', ours.issue(`URI:${HOST.slice(0, -2)}`)],
    ['in another case', ours.issue(`URI:${HOST.replace('host', 'Host')}`)],
    ['of another trust domain', ours.issue(`URI:${HOST.replace('cloud', 'clouds')}`)],
    ['that signs others', ours.issue(`URI:${HOST}`, true)],
    ['of the server itself', server],
  ];
  let certificatesAccepted = 0;
  const method = 'BillingCollectorService/SendMetricsBatch';
  for (const [name, shown] of foreign) {
    const status = await certificateStatus(meterd.url, { ca, method, shown, body: {} });
    if (status === 401) continue;
    certificatesAccepted++;
    wrong.push(`a certificate ${name} was answered ${status}`);
  }
  // An empty batch by the right one gets past the gate, and is no batch.
  const right = await certificateStatus(meterd.url, { ca, method, shown: ours.issue(`URI:${HOST}`), body: {} });
  if (right !== 400) wrong.push(`the right certificate was answered ${right}`);
  return { certificates: foreign.length, certificatesAccepted };
}
