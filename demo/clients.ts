import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';

/** A client of one service of a running meterd, over HTTP/2 in clear text. */
export function clientOf<T extends DescService>(service: T, url: string, key: string): Client<T> {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${key}`);
    return next(request);
  };
  return createClient(service, createConnectTransport({ baseUrl: url, httpVersion: '2', interceptors: [authorize] }));
}
