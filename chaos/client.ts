import { Agent, request } from 'node:http';
import { fromBinary } from '@bufbuild/protobuf';
import { type SendMetricsBatchResponse, SendMetricsBatchResponseSchema } from '../gen/billing/v1/collector_pb.ts';

const SEND_PATH = '/billing.v1.BillingCollectorService/SendMetricsBatch';
const CALL_TIMEOUT_MS = 60_000;

/** What became of a call. `broken`: no whole answer came, so nobody knows what became of the windows. */
export type Answer =
  | { readonly kind: 'acknowledged'; readonly response: SendMetricsBatchResponse }
  | { readonly kind: 'refused'; readonly status: number; readonly code: string; readonly message: string }
  | { readonly kind: 'broken'; readonly reason: string };

/** Sends batches over HTTP/1.1 with Connect's protocol, and tells a whole answer from one that was cut off. */
export class SendClient {
  readonly #url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent;

  constructor(url: string, key: string, connectionsMax = 16) {
    this.#url = new URL(SEND_PATH, url);
    this.#agent = new Agent({ keepAlive: true, maxSockets: connectionsMax });
    this.#headers = {
      'content-type': 'application/proto',
      'connect-protocol-version': '1',
      authorization: `Bearer ${key}`,
    };
  }

  /** Never rejects. */
  async send(body: Buffer): Promise<Answer> {
    try {
      const { status, bytes } = await this.#post(body);
      if (status === 200) return { kind: 'acknowledged', response: fromBinary(SendMetricsBatchResponseSchema, bytes) };
      const error: { code?: string; message?: string } = JSON.parse(bytes.toString('utf8'));
      return { kind: 'refused', status, code: error.code ?? '', message: error.message ?? '' };
    } catch (reason) {
      return { kind: 'broken', reason: reason instanceof Error ? reason.message : String(reason) };
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(body: Buffer): Promise<{ status: number; bytes: Buffer }> {
    return new Promise((resolve, reject) => {
      const options = { agent: this.#agent, method: 'POST', headers: this.#headers, timeout: CALL_TIMEOUT_MS };
      const call = request(this.#url, options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          if (response.complete) resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) });
          else reject(new Error('the answer was cut off'));
        });
      });
      call.on('timeout', () => call.destroy(new Error(`no answer within ${CALL_TIMEOUT_MS} ms`)));
      call.on('error', reject);
      call.end(body);
    });
  }
}
