import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** Enough of a body to see which statement it is, where it is not in the URL. */
const QUERY_BYTES = 200;

/** Passes calls on to ClickHouse; of those told to, the answer is dropped after ClickHouse has done what was asked. */
export class ClickHouseProxy {
  readonly url: string;
  readonly #server: ReturnType<typeof createServer>;
  /** Of so many of a thousand inserts the answer is dropped. */
  dropPermille = 0;
  /** How often it was. */
  dropped = 0;
  #count = 0;

  private constructor(url: string, server: ReturnType<typeof createServer>) {
    this.url = url;
    this.#server = server;
  }

  /** @param target ClickHouse's URL, with the database in it */
  static async open(target: string): Promise<ClickHouseProxy> {
    const server = createServer((request, response) => {
      proxy.#pass(request, response, new URL(target)).catch(() => request.socket.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
    const url = new URL(target);
    url.port = String(address.port);
    const proxy = new ClickHouseProxy(url.href, server);
    return proxy;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #pass(request: IncomingMessage, response: ServerResponse, target: URL): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const path = new URL(request.url ?? '', `http://${target.host}`);
    const headers = { authorization: request.headers.authorization ?? '' };
    const answer = await fetch(path, { method: 'POST', headers, body });
    const said = Buffer.from(await answer.arrayBuffer());
    const query = (path.searchParams.get('query') ?? '') + body.toString('latin1', 0, QUERY_BYTES);
    const isInsert = /INSERT INTO (\S*\.)?(windows|touched_hours)/.test(query);
    if (isInsert && this.#isDropped()) {
      this.dropped++;
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status);
    response.end(said);
  }

  /** Evenly spread, so that few calls show it as well. */
  #isDropped(): boolean {
    this.#count += this.dropPermille;
    if (this.#count < 1000) return false;
    this.#count -= 1000;
    return true;
  }
}
