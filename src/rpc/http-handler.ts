import type { DescMethod } from '@bufbuild/protobuf';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import {
  Code,
  ConnectError,
  type ContextValues,
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

/** Methods that read part of a protobuf message in a way of their own; they stand in for those of the same path. */
export interface RawMethods {
  readonly routes: (router: ConnectRouter) => void;
  /** Keeps its part in the call's values. @returns what is left for the decoder */
  readonly setAside: (message: Uint8Array, values: ContextValues) => Uint8Array;
}

export interface HttpOptions {
  readonly rpc: ConnectRouterOptions & { readonly readMaxBytes: number };
  readonly routes: (router: ConnectRouter) => void;
  readonly raw: RawMethods;
  readonly pages: ReadonlyMap<string, Page>;
  readonly onFailure: (reason: unknown, path: string) => void;
}

/** The one request handler: RPCs by their path, then pages, then 404. */
export function httpHandler(options: HttpOptions): RequestListener {
  const handlers = handlersOf(options.rpc, options.routes);
  const rawHandlers = handlersOf(options.rpc, options.raw.routes);
  const { readMaxBytes: bytesMax } = options.rpc;
  const ordinary: Reading = { bytesMax, setAside: undefined };
  const aside: Reading = { bytesMax, setAside: options.raw.setAside };
  const serve = async (request: NodeRequest, response: NodeResponse): Promise<void> => {
    const path = pathOf(request);
    const raw = isJson(request.headers['content-type']) ? undefined : rawHandlers.get(path);
    const handler = raw ?? handlers.get(path);
    const page = options.pages.get(path);
    if (handler !== undefined) await serveRpc(handler, request, response, handler === raw ? aside : ordinary);
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

type Call = UniversalServerRequest & { readonly contextValues: ContextValues };

/** How the bodies of calls are read. */
interface Reading {
  readonly bytesMax: number;
  readonly setAside: RawMethods['setAside'] | undefined;
}

async function serveRpc(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  reading: Reading,
): Promise<void> {
  const call = callOf(request, response);
  await universalResponseToNodeResponse(await handler(withCheckedBody(call, handler.method, reading)), response);
}

/**
 * A request as the handlers take it. Unlike the adapter's own, its signal fires only for a client that went away: firing it
 * at the end of every call costs an error with a stack trace each time.
 */
function callOf(request: NodeRequest, response: NodeResponse): Call {
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

function withCheckedBody(call: Call, method: DescMethod, reading: Reading): UniversalServerRequest {
  const { body, header, contextValues } = call;
  const takesOne = method.methodKind === 'unary' || method.methodKind === 'server_streaming';
  const isStream = typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
  if (!takesOne || !isStream || call.method !== 'POST') return call;
  const { bytesMax, setAside } = reading;
  if (setAside === undefined) return { ...call, body: checkedBody(body, { method, header, bytesMax }) };
  // It is the length of the whole body, and the decoder is going to see less.
  header.delete('content-length');
  return {
    ...call,
    body: checkedBody(body, { method, header, bytesMax, setAside: (message) => setAside(message, contextValues) }),
  };
}

function pathOf(request: NodeRequest): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}
