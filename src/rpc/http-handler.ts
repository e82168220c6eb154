import type { DescMethod } from '@bufbuild/protobuf';
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
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import type { RequestListener } from './listener.ts';
import { beginCall } from './begin-call.ts';
import { checkedBody, isJson } from './check-body.ts';
import type { NodeRequest, NodeResponse } from './node-http.ts';
import { kOpenCall, type OpenCall, type OpenCalls } from './open-call.ts';
import { readBody, readEnvelopes } from './read-body.ts';
import { sendAnswer } from './send-answer.ts';

/** Answers one path that is no RPC. */
export type Page = (request: NodeRequest, response: NodeResponse) => void | Promise<void>;

/** Methods that read part of a protobuf message in a way of their own; they stand in for those of the same path. */
export interface RawMethods {
  readonly routes: (router: ConnectRouter) => void;
  /** Keeps its part in the call's values. @returns what is left for the decoder */
  readonly setAside: (message: Uint8Array, values: ContextValues) => Uint8Array;
}

/** A method with a way of its own for its usual calls. */
export interface DirectMethod {
  readonly path: string;
  takes(request: NodeRequest): boolean;
  serve(request: NodeRequest, response: NodeResponse): Promise<void>;
}

export interface HttpOptions {
  readonly rpc: ConnectRouterOptions & { readonly readMaxBytes: number };
  readonly routes: (router: ConnectRouter) => void;
  readonly raw: RawMethods;
  /** Serves some calls of a path itself; the others go the way of all. */
  readonly direct: DirectMethod | undefined;
  readonly calls: OpenCalls;
  readonly pages: ReadonlyMap<string, Page>;
  readonly onFailure: (reason: unknown, path: string) => void;
}

/** For each message of a stream that a client sends: those that there are ask for a name. */
const STREAM_MESSAGE_BYTES_MAX = 16_384;

/** The one request handler: RPCs by their path, then pages, then 404. */
export function httpHandler(options: HttpOptions): RequestListener {
  const handlers = handlersOf(options.rpc, options.routes);
  const rawHandlers = handlersOf(options.rpc, options.raw.routes);
  const { readMaxBytes: bytesMax } = options.rpc;
  const ordinary: Serving = { calls: options.calls, bytesMax, setAside: undefined };
  const aside: Serving = { ...ordinary, setAside: options.raw.setAside };
  const serve = async (request: NodeRequest, response: NodeResponse): Promise<void> => {
    const path = pathOf(request);
    if (path === options.direct?.path && options.direct.takes(request)) {
      await options.direct.serve(request, response);
      return;
    }
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

/** How calls are served. */
interface Serving {
  readonly calls: OpenCalls;
  readonly bytesMax: number;
  readonly setAside: RawMethods['setAside'] | undefined;
}

async function serveRpc(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  serving: Serving,
): Promise<void> {
  const open = beginCall(serving.calls, request, response);
  const call = callOf(request, response);
  call.contextValues.set(kOpenCall, open);
  const body = bodyOf(call, { request, open, method: handler.method, serving });
  await sendAnswer(await handler({ ...call, body }), response, open);
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

/** What a call's body is made from. */
interface Coming {
  readonly request: NodeRequest;
  readonly open: OpenCall;
  readonly method: DescMethod;
  readonly serving: Serving;
}

/** The body as the handlers take it; read when they ask for it, which they do once the gate has let the call in. */
function bodyOf(
  { header, contextValues }: Call,
  { request, open, method, serving }: Coming,
): AsyncIterable<Uint8Array> {
  const takesOne = method.methodKind === 'unary' || method.methodKind === 'server_streaming';
  if (!takesOne) return readEnvelopes(request, open, STREAM_MESSAGE_BYTES_MAX);
  const { bytesMax, setAside } = serving;
  const declaredBytes = Number(header.get('content-length') ?? 0);
  const read = (): Promise<Buffer> => readBody(request, { call: open, bytesMax, declaredBytes });
  if (setAside === undefined) return checkedBody(read, { method, header, bytesMax });
  // It is the length of the whole body, and the decoder is going to see less.
  header.delete('content-length');
  return checkedBody(read, { method, header, bytesMax, setAside: (message) => setAside(message, contextValues) });
}

function pathOf(request: NodeRequest): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}
