import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { ClickHouseClient } from '@clickhouse/client';
import { onTestFinished } from 'vitest';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';

/** What a proxy does with a call: passes it on; cuts it off, before or after ClickHouse has it; or never answers. */
export type Treatment = 'pass' | 'cut off' | 'drop the answer' | 'hang';

export interface ProxiedCall {
  /** The query; of an insert also the first rows. */
  readonly query: string;
  readonly bodyBytes: number;
  /** Settings may be added to it. */
  readonly parameters: URLSearchParams;
}

export interface ProxyOptions {
  readonly url: string;
  readonly treat: (call: ProxiedCall) => Treatment;
  /** Told of what ClickHouse said to a call. */
  readonly onAnswer?: (call: ProxiedCall, status: number) => void;
  /** Whether it reads no faster than one piece of what the network gives a turn of the event loop. */
  readonly isSlow?: boolean;
  /** Told when the caller has closed the connection of a call that hangs. */
  readonly onClosed?: () => void;
}

/**
 * A client of ClickHouse through a proxy that treats calls as told; both are closed with the test.
 * @param port where the proxy listens; any free one where left out
 */
export async function aProxy(options: ProxyOptions, port = 0): Promise<ClickHouseClient> {
  const { url, close } = await startProxy(options, port);
  const client = connectClickHouse({ url });
  onTestFinished(async () => {
    await client.close();
    close();
  });
  return client;
}

/** Such a proxy for a whole file. @returns its URL, which is that of `options` but for the port */
export async function startProxy(options: ProxyOptions, port = 0): Promise<{ url: string; close: () => void }> {
  const server = createServer((request, response) => void pass(request, response, options));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const url = new URL(options.url);
  url.port = String(address.port);
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: url.href, close };
}

async function pass(request: IncomingMessage, response: ServerResponse, options: ProxyOptions): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk);
    if (options.isSlow === true) await new Promise(setImmediate);
  }
  const body = Buffer.concat(chunks);
  const path = new URL(request.url ?? '', `http://${new URL(options.url).host}`);
  const parameters = path.searchParams;
  const query = (parameters.get('query') ?? '') + body.toString('latin1', 0, 200);
  const call = { query, bodyBytes: body.length, parameters };
  const treatment = options.treat(call);
  if (treatment === 'hang') request.socket.once('close', () => options.onClosed?.());
  if (treatment === 'cut off') request.socket.destroy();
  if (treatment === 'hang' || treatment === 'cut off') return;
  const headers = { authorization: request.headers.authorization ?? '' };
  const answer = await fetch(path, { method: 'POST', headers, body });
  const said = Buffer.from(await answer.arrayBuffer());
  options.onAnswer?.(call, answer.status);
  if (treatment === 'drop the answer') {
    request.socket.destroy();
    return;
  }
  response.writeHead(answer.status);
  response.end(said);
}
