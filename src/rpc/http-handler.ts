import type { DescMethod } from '@bufbuild/protobuf';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import {
  Code,
  ConnectError,
  createContextValues,
  type ConnectRouter,
  type ConnectRouterOptions,
  createConnectRouter,
} from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerRequest } from '@connectrpc/connect/protocol';
import { compressionBrotli, compressionGzip, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import type { RequestListener } from './listener.ts';
import { checkedBody, isJson } from './check-body.ts';

export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** Answers one path that is no RPC. */
export type Page = (request: NodeRequest, response: NodeResponse) => void | Promise<void>;

export interface HttpOptions {
  readonly rpc: ConnectRouterOptions & { readonly readMaxBytes: number };
  readonly routes: (router: ConnectRouter) => void;
  /** Methods that read protobuf in a way of their own; they stand in for those of the same path. */
  readonly rawRoutes: (router: ConnectRouter) => void;
  readonly pages: ReadonlyMap<string, Page>;
  readonly onFailure: (reason: unknown, path: string) => void;
}

/** The one request handler: RPCs by their path, then pages, then 404. */
export function httpHandler(options: HttpOptions): RequestListener {
  const handlers = handlersOf(options.rpc, options.routes);
  const rawHandlers = handlersOf(options.rpc, options.rawRoutes);
  const serve = async (request: NodeRequest, response: NodeResponse): Promise<void> => {
    const path = pathOf(request);
    const raw = isJson(request.headers['content-type']) ? undefined : rawHandlers.get(path);
    const handler = raw ?? handlers.get(path);
    const page = options.pages.get(path);
    if (handler !== undefined) await serveRpc(handler, request, response, options.rpc.readMaxBytes);
    else if (page !== undefined) await page(request, response);
    else send(response, 404, 'text/plain; charset=utf-8', `nothing is served at ${path}\n`);
  };
  return (request, response) => {
    serve(request, response).catch((reason: unknown) => {
      // A client that went away in the middle of a call is nothing to report.
      if (ConnectError.from(reason).code !== Code.Aborted) options.onFailure(reason, pathOf(request));
      if (response.headersSent) response.destroy();
      else send(response, 500, 'text/plain; charset=utf-8', 'meterd failed; its log says why\n');
    });
  };
}

function handlersOf(
  rpc: ConnectRouterOptions,
  routes: (router: ConnectRouter) => void,
): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({ acceptCompression: [compressionGzip, compressionBrotli], ...rpc });
  routes(router);
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** Sends a whole answer that is no RPC's. */
export function send(response: NodeResponse, status: number, contentType: string, body: string | Buffer): void {
  response.statusCode = status;
  response.setHeader('content-type', contentType);
  response.setHeader('content-length', Buffer.byteLength(body));
  response.end(body);
}

async function serveRpc(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  bytesMax: number,
): Promise<void> {
  const call = callOf(request, response);
  await universalResponseToNodeResponse(await handler(withCheckedBody(call, handler.method, bytesMax)), response);
}

/**
 * A request as the handlers take it. Unlike the adapter's own, its signal fires only for a client that went away: firing it
 * at the end of every call costs an error with a stack trace each time.
 */
function callOf(request: NodeRequest, response: NodeResponse): UniversalServerRequest {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(new ConnectError('the client went away', Code.Canceled));
  });
  const header = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    // HTTP/2's own fields (":path" and the like) are no headers to a handler.
    if (value === undefined || name.startsWith(':')) continue;
    for (const each of Array.isArray(value) ? value : [value]) header.append(name, each);
  }
  return {
    httpVersion: request.httpVersion,
    method: request.method ?? '',
    url: new URL(request.url ?? '', 'http://meterd').toString(),
    header,
    body: request,
    signal: gone.signal,
    contextValues: createContextValues(),
  };
}

function withCheckedBody(call: UniversalServerRequest, method: DescMethod, bytesMax: number): UniversalServerRequest {
  const { body, header } = call;
  const takesOne = method.methodKind === 'unary' || method.methodKind === 'server_streaming';
  const isStream = typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
  return takesOne && isStream && call.method === 'POST'
    ? { ...call, body: checkedBody(body, method, header, bytesMax) }
    : call;
}

function pathOf(request: NodeRequest): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}
