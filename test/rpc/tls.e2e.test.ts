import { once } from 'node:events';
import * as http2 from 'node:http2';
import { get } from 'node:https';
import { connect } from 'node:tls';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { describe, expect, it } from 'vitest';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { aWindow } from '../ingest/a-window.ts';
import { folderForTest, meterdForTest } from '../meterd.ts';
import { Authority, type Certificate } from './certificates.ts';

const folder = await folderForTest();
const authority = new Authority(folder, 'ours');
const stranger = new Authority(folder, 'theirs');
const server = authority.issue('IP:127.0.0.1');
const meterd = await meterdForTest({
  METERD_TLS_CERT: server.certPath,
  METERD_TLS_KEY: server.keyPath,
  METERD_TLS_CLIENT_CA: authority.certificate.certPath,
});
const port = Number(new URL(meterd.url).port);
const ca = authority.certificate.cert;
const HOST = 'spiffe://cloud.example/host/1';

function clientWith(shown: Certificate | undefined, authorization?: string) {
  const nodeOptions = { ca, ...(shown === undefined ? {} : { cert: shown.cert, key: shown.key }) };
  const transport = createConnectTransport({
    baseUrl: meterd.url,
    httpVersion: '2',
    nodeOptions,
    interceptors: [
      (next) => (request) => {
        if (authorization !== undefined) request.header.set('authorization', authorization);
        return next(request);
      },
    ],
  });
  return {
    keys: createClient(KeyService, transport),
    collector: createClient(BillingCollectorService, transport),
  };
}

const admin = clientWith(undefined, `Bearer ${meterd.adminKey}`);
const minuteMs = Math.floor(Date.now() / 60_000) * 60_000;
const [windowStart, windowEnd] = [timestampFromMs(minuteMs - 60_000), timestampFromMs(minuteMs)];

/** Of the last full minute, of a VM of its own. */
function batch(region = 'us-east1') {
  const window = { vmId: crypto.randomUUID(), region, windowStart, windowEnd, timestamp: windowEnd };
  return { metrics: [aWindow(window)] };
}

describe('TLS', () => {
  it('serves HTTP/2 and HTTP/1.1 on one port, by version 1.3 only, and nothing in clear text', async () => {
    expect(meterd.url).toMatch(/^https:/);
    const session = http2.connect(meterd.url, { ca });
    const stream = session.request({ ':path': '/healthz' });
    const [headers]: http2.IncomingHttpHeaders[] = await once(stream, 'response');
    expect(headers?.[':status']).toBe(200);
    session.destroy();
    const [response] = await once(get(`${meterd.url}/healthz`, { ca }), 'response');
    expect([response.statusCode, response.socket.getProtocol()]).toEqual([200, 'TLSv1.3']);
    response.destroy();
    const old = connect({ port, host: '127.0.0.1', ca, maxVersion: 'TLSv1.2' });
    await expect(once(old, 'secureConnect')).rejects.toThrow(/protocol version/);
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
  });
});

describe('a host with a certificate', () => {
  it('reports what the key with its SPIFFE id may, until that is revoked', async () => {
    const made = await admin.keys.createKey({
      name: 'host 1',
      role: KeyRole.COLLECTOR,
      regions: ['us-east1'],
      spiffeId: HOST,
    });
    expect(made).toMatchObject({ secret: '', key: { spiffeId: HOST } });
    const { collector } = clientWith(authority.issue(`URI:${HOST},DNS:host-1.example`));
    expect(await collector.sendMetricsBatch(batch())).toMatchObject({ accepted: 1 });
    await expect(collector.sendMetricsBatch(batch('eu-west1'))).rejects.toThrow(
      /permission_denied.*region: "eu-west1"/,
    );
    const again = { name: 'host 1 again', role: KeyRole.COLLECTOR, regions: ['*'], spiffeId: HOST };
    await expect(admin.keys.createKey(again)).rejects.toThrow(/already_exists.*spiffe_id/);

    await admin.keys.revokeKey({ keyId: made.key?.keyId ?? '' });
    await expect(collector.sendMetricsBatch(batch())).rejects.toThrow(/unauthenticated.*no key that works/);
    await admin.keys.createKey(again);
    // Looked up a moment ago, and not there: it is asked for again a few seconds later.
    await expect.poll(() => collector.sendMetricsBatch(batch()), { timeout: 12_000 }).toMatchObject({ accepted: 1 });
  });

  it.each([
    ['of another authority', () => stranger.issue(`URI:${HOST}`), /is not trusted/],
    ['with two URIs', () => authority.issue(`URI:${HOST},URI:spiffe://cloud.example/host/2`), /has 2 URIs/],
    ['without a URI', () => authority.issue('DNS:host-1.example'), /has 0 URIs/],
    ['with no name at all', () => authority.issue(''), /has 0 URIs/],
    ['that signs others', () => authority.issue(`URI:${HOST}`, true), /one that signs others/],
    ['with more behind the id', () => authority.issue(`URI:${HOST}0`), /no key that works has the SPIFFE id/],
    ['of another domain', () => authority.issue(`URI:spiffe://other.example/host/1`), /no key that works/],
  ])('%s is turned away', async (_, shown, message) => {
    await expect(clientWith(shown()).collector.sendMetricsBatch(batch())).rejects.toThrow(message);
  });

  it('is what its key says where it sends one, whatever its certificate says', async () => {
    const shown = authority.issue(`URI:${HOST}`);
    const both = clientWith(shown, 'Bearer nonsense').collector;
    await expect(both.sendMetricsBatch(batch())).rejects.toThrow(/unauthenticated.*Bearer/);
    expect(await clientWith(stranger.issue(''), `Bearer ${meterd.adminKey}`).keys.listKeys({})).toBeDefined();
  });
});
