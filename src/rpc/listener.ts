import * as http from 'node:http';
import * as http2 from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';

export type RequestListener = (
  request: http.IncomingMessage | http2.Http2ServerRequest,
  response: http.ServerResponse | http2.Http2ServerResponse,
) => void;

export interface ListenerOptions {
  readonly onRequest: RequestListener;
  readonly connectionsMax: number;
  readonly streamsPerConnectionMax: number;
}

/** A new connection has this long to say its first three bytes. */
const FIRST_BYTES_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** What every HTTP/2 connection in clear text starts with (RFC 9113, section 3.4); no HTTP/1.1 method does. */
const HTTP2_PREFACE_START = 'PRI';

/**
 * One port for HTTP/1.1 and for HTTP/2 in clear text: the first three bytes of a connection tell which, and the rest is
 * Node's own servers' work.
 */
export class Listener {
  readonly #port: Server;
  readonly #http1: http.Server;
  readonly #http2: http2.Http2Server;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<http2.ServerHttp2Session>();

  constructor(options: ListenerOptions) {
    this.#http1 = http.createServer(
      {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      },
      options.onRequest,
    );
    // Node watches these timeouts only once a server listens, and this one is handed its connections.
    this.#http1.emit('listening');
    this.#http2 = http2.createServer(
      { settings: { maxConcurrentStreams: options.streamsPerConnectionMax } },
      options.onRequest,
    );
    this.#http2.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    this.#port = createServer({ noDelay: true }, (socket) => this.#take(socket));
    this.#port.maxConnections = options.connectionsMax;
  }

  /** @returns the port, which matters where 0 was asked for */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#port.once('error', reject);
      this.#port.listen(port, host, () => {
        this.#port.off('error', reject);
        resolve();
      });
    });
    const address = this.#port.address();
    if (address === null || typeof address === 'string')
      throw new Error(`listening on ${String(address)}, not on a port`);
    return address.port;
  }

  /** Takes no new connections and lets the calls under way end, for `timeoutMs` at most; then cuts what is left. */
  async stop(timeoutMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#port.close(() => resolve()));
    for (const session of this.#sessions) session.close();
    this.#http1.close();
    const sweep = setInterval(() => this.#http1.closeIdleConnections(), 50);
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, timeoutMs);
    await closed;
    clearInterval(sweep);
    clearTimeout(cut);
  }

  #take(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // Until a protocol's server takes over, an error only ends the connection.
    const onEarlyError = (): void => void socket.destroy();
    const onTimeout = (): void => void socket.destroy();
    socket.on('error', onEarlyError);
    socket.setTimeout(FIRST_BYTES_TIMEOUT_MS, onTimeout);
    let bytes = Buffer.alloc(0);
    const onReadable = (): void => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      bytes = Buffer.concat([bytes, chunk]);
      const start = bytes.toString('latin1', 0, HTTP2_PREFACE_START.length);
      if (start.length < HTTP2_PREFACE_START.length && HTTP2_PREFACE_START.startsWith(start)) return;
      socket.unshift(bytes);
      socket.off('readable', onReadable);
      socket.off('error', onEarlyError);
      socket.off('timeout', onTimeout);
      socket.setTimeout(0);
      (start === HTTP2_PREFACE_START ? this.#http2 : this.#http1).emit('connection', socket);
    };
    socket.on('readable', onReadable);
  }
}
