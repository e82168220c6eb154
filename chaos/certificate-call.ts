import { request } from 'node:https';
import type { Certificate } from '../test/rpc/certificates.ts';

export interface CertificateCall {
  /** In PEM: who signed the server's. */
  readonly ca: string;
  readonly method: string;
  readonly shown?: Certificate | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: object;
}

/** Calls a method in JSON, on a connection of its own. @returns the HTTP status */
export function certificateStatus(url: string, call: CertificateCall): Promise<number> {
  const { ca, method, shown, headers = {}, body } = call;
  const identity = shown === undefined ? {} : { cert: shown.cert, key: shown.key };
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST',
      agent: false,
      ca,
      ...identity,
      headers: { 'content-type': 'application/json', ...headers },
    };
    const sent = request(new URL(`/billing.v1.${method}`, url), options, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}
