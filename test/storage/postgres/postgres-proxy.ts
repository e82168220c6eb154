import { once } from 'node:events';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** What comes and goes between a client and Postgres: passed on, or kept back without a word. */
export class PostgresProxy {
  isHung = false;
  readonly #url: string;
  readonly #socketPath: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  /** @param url of a Postgres that listens on a Unix socket */
  constructor(url: string) {
    this.#url = url;
    this.#socketPath = `${new URL(url).searchParams.get('host')}/.s.PGSQL.5432`;
    onTestFinished(() => this.close());
  }

  /** Listens, at the same port each time. @returns the URL of Postgres through this */
  async open(): Promise<string> {
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#pass(client));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.#port = address.port;
    const through = new URL(this.#url);
    through.search = '';
    through.host = `127.0.0.1:${this.#port}`;
    return through.href;
  }

  /** Cuts all connections; there is nobody to connect to from here on. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  #pass(client: Socket): void {
    const postgres = connect({ path: this.#socketPath, allowHalfOpen: true });
    for (const [from, to] of [
      [client, postgres],
      [postgres, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('data', (bytes) => void (this.isHung || to.write(bytes)));
      from.on('end', () => void (this.isHung || to.end()));
      from.on('error', () => undefined);
      from.once('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
