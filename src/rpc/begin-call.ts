import type { NodeRequest, NodeResponse } from './node-http.ts';
import type { OpenCall, OpenCalls } from './open-call.ts';
import { peerOf } from './peer.ts';

/** Counts a call as open until its response closes. */
export function beginCall(calls: OpenCalls, request: NodeRequest, response: NodeResponse): OpenCall {
  const open = calls.enter(peerOf(request));
  response.once('close', () => calls.leave(open));
  // Answered before all of its body came, a call over HTTP/2 would stay open for as long as its client likes.
  if ('stream' in request) request.stream.once('finish', () => open.awaitsEnd(() => request.stream.close()));
  return open;
}
