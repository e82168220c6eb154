import * as http from 'node:http';
import * as http2 from 'node:http2';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect as connectSecurely } from 'node:tls';
import { Authority } from './certificates.ts';
import { folderForTest } from '../meterd.ts';
import { readTlsFiles } from '../../src/rpc/tls.ts';
import { Listener } from '../../src/rpc/listener.ts';

const folder = await folderForTest();
const BOUNDS = {
  connectionsMax: 100,
  streamsPerConnectionMax: 10,
  receiveTimeoutMs: 10_000,
  idleTimeoutMs: 75_000,
  tls: undefined,
};

describe('Listener', () => {
  const listener = new Listener({
    ...BOUNDS,
    onRequest: (request, response) => {
      response.setHeader('content-type', 'text/plain');
      response.end(`${request.httpVersion} ${request.url}`);
    },
  });
  let port = 0;

  beforeAll(async () => {
    port = await listener.listen('127.0.0.1', 0);
  });
  afterAll(() => listener.stop(1000));

  it('answers HTTP/1.1', async () => {
    const response = await fetch(`http://127.0.0.1:${port}/one`);
    expect(await response.text()).toBe('1.1 /one');
  });

  it('answers HTTP/2 in clear text on the same port', async () => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const stream = session.request({ ':path': '/two' });
    let text = '';
    for await (const chunk of stream.setEncoding('utf8')) text += String(chunk);
    expect(text).toBe('2.0 /two');
    expect(session.remoteSettings.maxConcurrentStreams).toBe(10);
    session.close();
  });

  it('waits for a request that comes byte by byte, in both protocols', async () => {
    const request = 'PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    for (const byte of request) {
      socket.write(byte);
      await new Promise(setImmediate);
    }
    await once(socket, 'close');
    expect(text).toContain('1.1 /slow');

    const slow = connect(port, '127.0.0.1').setNoDelay(true);
    const first = once(slow, 'data');
    for (const byte of 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n') {
      slow.write(byte);
      await new Promise(setImmediate);
    }
    slow.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    const [settings] = await first;
    // The fourth byte of a frame is its type, and 4 is SETTINGS.
    expect(settings[3]).toBe(4);
    slow.destroy();
  });

  it('lets calls under way end when it stops, and takes no new ones', async () => {
    let finish: (() => void) | undefined;
    const held = Promise.withResolvers<void>();
    const stopping = new Listener({
      ...BOUNDS,
      onRequest: (_, response) => {
        finish = () => response.end('done');
        held.resolve();
      },
    });
    const at = await stopping.listen('127.0.0.1', 0);
    const answer = fetch(`http://127.0.0.1:${at}/`);
    await held.promise;
    const stopped = stopping.stop(5000);
    await expect(fetch(`http://127.0.0.1:${at}/`)).rejects.toThrow();
    finish?.();
    expect(await (await answer).text()).toBe('done');
    await stopped;
  });

  it('cuts what does not end in time', async () => {
    const held = Promise.withResolvers<void>();
    const stopping = new Listener({ ...BOUNDS, onRequest: () => held.resolve() });
    const at = await stopping.listen('127.0.0.1', 0);
    const request = http.get(`http://127.0.0.1:${at}/`);
    const failed = once(request, 'error');
    await held.promise;
    await stopping.stop(10);
    await failed;
  });

  it('secures new connections with another certificate while it runs', async () => {
    const material = ['before', 'after'].map((name) => {
      const { certPath, keyPath } = new Authority(folder, name).certificate;
      return readTlsFiles({ certPath, keyPath, clientCaPath: undefined });
    });
    const [before, after] = await Promise.all(material);
    if (before === undefined || after === undefined) throw new Error('there are two');
    const secured = new Listener({ ...BOUNDS, tls: before, onRequest: (_, response) => response.end('x') });
    const at = await secured.listen('127.0.0.1', 0);
    const subjectOf = async (): Promise<unknown> => {
      const socket = connectSecurely({ port: at, host: '127.0.0.1', rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const { CN } = socket.getPeerCertificate().subject;
      socket.destroy();
      return CN;
    };
    expect(await subjectOf()).toBe('before');
    secured.secureWith(after);
    expect(await subjectOf()).toBe('after');
    await secured.stop(100);
    await expect(readTlsFiles({ certPath: folder, keyPath: folder, clientCaPath: undefined })).rejects.toThrow(
      /EISDIR/,
    );
  });
});
