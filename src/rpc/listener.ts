import * as http from 'node:http';
import * as http2 from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, Server as TlsServer } from 'node:tls';
import type { NodeRequest, NodeResponse } from './node-http.ts';
import type { TlsMaterial } from './tls.ts';

export type RequestListener = (request: NodeRequest, response: NodeResponse) => void;

export interface ListenerOptions {
  readonly onRequest: RequestListener;
  readonly connectionsMax: number;
  readonly streamsPerConnectionMax: number;
  /** For a new connection to make its first call, and for the headers and the body of each. */
  readonly receiveTimeoutMs: number;
  /** For a connection between calls. */
  readonly idleTimeoutMs: number;
  /** `undefined`: in clear text. */
  readonly tls: TlsMaterial | undefined;
}

/** Of one call, all together; a credential takes some 100. */
const HEADER_BYTES_MAX = 16_384;
const HEADERS_MAX = 100;
/** Calls that a client opens and takes back at once, over HTTP/2: so many in a row, and so many a second beyond that. */
const RESETS_BURST = 200;
const RESETS_PER_SECOND_MAX = 50;
const INVALID_FRAMES_MAX = 100;
const SETTINGS_MAX = 32;
const SESSION_MEMORY_MB_MAX = 10;
/** What every HTTP/2 connection in clear text starts with (RFC 9113, section 3.4); no HTTP/1.1 method does. */
const HTTP2_PREFACE_START = 'PRI';

/** What an HTTP/2 connection is used for. */
interface SessionUse {
  calls: number;
  /** When its last call ended, or it began. */
  idleSinceMs: number;
  allowedMs: number;
  isClosing: boolean;
}

/**
 * One port for HTTP/1.1 and for HTTP/2. In clear text the first three bytes of a connection tell which, over TLS the
 * handshake does (ALPN); the rest is Node's own servers' work.
 */
export class Listener {
  readonly #port: Server;
  readonly #http1: http.Server;
  readonly #http2: http2.Http2Server;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Map<http2.ServerHttp2Session, SessionUse>();
  readonly #options: ListenerOptions;
  readonly #sweeping: NodeJS.Timeout;

  constructor(options: ListenerOptions) {
    this.#options = options;
    const checkIntervalMs = Math.min(1000, options.receiveTimeoutMs / 4, options.idleTimeoutMs / 4);
    this.#http1 = http.createServer(
      {
        headersTimeout: options.receiveTimeoutMs,
        requestTimeout: options.receiveTimeoutMs,
        keepAliveTimeout: options.idleTimeoutMs,
        connectionsCheckingInterval: checkIntervalMs,
        maxHeaderSize: HEADER_BYTES_MAX,
      },
      options.onRequest,
    );
    // Node watches these timeouts only once a server listens, and this one is handed its connections.
    this.#http1.emit('listening');
    this.#http2 = http2.createServer(
      {
        settings: { maxConcurrentStreams: options.streamsPerConnectionMax, maxHeaderListSize: HEADER_BYTES_MAX },
        maxHeaderListPairs: HEADERS_MAX,
        streamResetBurst: RESETS_BURST,
        streamResetRate: RESETS_PER_SECOND_MAX,
        maxSessionInvalidFrames: INVALID_FRAMES_MAX,
        maxSettings: SETTINGS_MAX,
        maxSessionMemory: SESSION_MEMORY_MB_MAX,
      },
      options.onRequest,
    );
    this.#http2.on('session', (session) => this.#watch(session));
    this.#sweeping = setInterval(() => this.#closeIdleSessions(), checkIntervalMs);
    this.#sweeping.unref();
    this.#port = this.#newPort(options.tls);
    this.#port.maxConnections = options.connectionsMax;
    this.#port.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get connectionCount(): number {
    return this.#sockets.size;
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
    for (const session of this.#sessions.keys()) session.close();
    this.#http1.close();
    const sweep = setInterval(() => this.#http1.closeIdleConnections(), 50);
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, timeoutMs);
    await closed;
    clearInterval(this.#sweeping);
    clearInterval(sweep);
    clearTimeout(cut);
  }

  /** A connection is idle without a call, whatever else goes to and fro on it: pings keep none open. */
  #watch(session: http2.ServerHttp2Session): void {
    const { receiveTimeoutMs, idleTimeoutMs } = this.#options;
    const use = { calls: 0, idleSinceMs: performance.now(), allowedMs: receiveTimeoutMs, isClosing: false };
    this.#sessions.set(session, use);
    session.once('close', () => this.#sessions.delete(session));
    const onCallEnd = (): void => {
      use.calls--;
      use.idleSinceMs = performance.now();
    };
    session.on('stream', (stream) => {
      use.calls++;
      use.allowedMs = idleTimeoutMs;
      stream.once('close', onCallEnd);
    });
  }

  #closeIdleSessions(): void {
    const nowMs = performance.now();
    for (const [session, use] of this.#sessions) {
      if (use.calls > 0 || nowMs - use.idleSinceMs < use.allowedMs) continue;
      // Asked first; one that takes in nothing, not even that, is cut the next time.
      if (use.isClosing) session.destroy();
      else session.close();
      use.isClosing = true;
    }
  }

  #newPort(tls: TlsMaterial | undefined): Server {
    if (tls === undefined) return createServer({ noDelay: true }, (socket) => this.#take(socket));
    const secured = {
      ...tls.context,
      noDelay: true,
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: this.#options.receiveTimeoutMs,
      // Callers with a key need no certificate: whoever shows one that is not trusted is turned away at the gate.
      requestCert: tls.asksForCertificates,
      rejectUnauthorized: false,
    };
    const server = createTlsServer(secured, (socket) => {
      if (socket.alpnProtocol === 'h2') this.#http2.emit('connection', socket);
      else this.#take(socket);
    });
    // A failed handshake is its client's matter; the connection is closed by then.
    return server.on('tlsClientError', () => undefined);
  }

  /** New connections are secured with this from now on; open ones stay as they are. */
  secureWith({ context }: TlsMaterial): void {
    if (this.#port instanceof TlsServer) this.#port.setSecureContext(context);
  }

  #take(socket: Socket): void {
    // Until a protocol's server takes over, an error only ends the connection.
    const onEarlyError = (): void => void socket.destroy();
    const onTimeout = (): void => void socket.destroy();
    socket.on('error', onEarlyError);
    socket.setTimeout(this.#options.receiveTimeoutMs, onTimeout);
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
