import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { once } from 'node:events';

/** What a call was answered. */
export interface Answer {
  readonly status: number;
  readonly body: Buffer;
  /** When to try again, where the server said so. */
  readonly retryAfterMs: number | undefined;
}

/** Connect's unary protocol with protobuf bodies over HTTP/2 in clear text, on several connections in turn. */
export class Caller {
  readonly #sessions: readonly ClientHttp2Session[];
  readonly #headers: Readonly<Record<string, string>>;
  #turn = 0;

  private constructor(sessions: readonly ClientHttp2Session[], key: string) {
    this.#sessions = sessions;
    this.#headers = {
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      'content-type': 'application/proto',
      'connect-protocol-version': '1',
      authorization: `Bearer ${key}`,
    };
  }

  static async connect(url: string, key: string, connections: number): Promise<Caller> {
    const sessions = Array.from({ length: connections }, () => connect(url));
    await Promise.all(sessions.map((session) => once(session, 'connect')));
    return new Caller(sessions, key);
  }

  /** @param path e.g. `/billing.v1.BillingCollectorService/SendMetricsBatch`. @throws Error where the connection breaks */
  call(path: string, body: Buffer): Promise<Answer> {
    const session = this.#sessions[this.#turn++ % this.#sessions.length];
    if (session === undefined) return Promise.reject(new Error('there is no connection'));
    return new Promise((resolve, reject) => {
      const stream = session.request({ ...this.#headers, [constants.HTTP2_HEADER_PATH]: path });
      const chunks: Buffer[] = [];
      let status = 0;
      let retryAfterMs: number | undefined;
      stream.on('response', (headers) => {
        status = Number(headers[constants.HTTP2_HEADER_STATUS]);
        const seconds = headers['retry-after'];
        if (seconds !== undefined) retryAfterMs = Number(seconds) * 1000;
      });
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => resolve({ status, retryAfterMs, body: Buffer.concat(chunks) }));
      stream.on('error', reject);
      stream.end(body);
    });
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
  }
}
