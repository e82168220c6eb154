import { once } from 'node:events';
import { constants } from 'node:http2';
import type { Writable } from 'node:stream';
import type { UniversalServerResponse } from '@connectrpc/connect/protocol';
import { Code, ConnectError } from '@connectrpc/connect';
import type { NodeResponse } from './node-http.ts';
import type { OpenCall } from './open-call.ts';

/**
 * Sends a handler's answer, no faster than its client reads it. A client that takes nothing for too long is cut.
 * @throws ConnectError ABORTED where the client goes away
 */
export async function sendAnswer(
  { status, header, body, trailer }: UniversalServerResponse,
  response: NodeResponse,
  call: OpenCall,
): Promise<void> {
  const out: Writable = response;
  const cut = (): void => cutOff(response);
  let unsent = 0;
  const onSent = (): void => {
    if (--unsent === 0) call.hasReader();
    else call.awaitsReader(cut);
  };
  const pieces = body?.[Symbol.asyncIterator]();
  try {
    // The headers wait for the first piece: a handler may set some until then.
    let piece = await pieces?.next();
    if (out.destroyed) throw goneAway();
    response.statusCode = status;
    for (const [name, value] of Object.entries(fieldsOf(header))) response.setHeader(name, value);
    while (piece !== undefined && piece.done !== true) {
      if (out.destroyed) throw goneAway();
      if (unsent++ === 0) call.awaitsReader(cut);
      if (!out.write(piece.value, onSent)) await drained(out);
      piece = await pieces?.next();
    }
    if (out.destroyed) throw goneAway();
    if (trailer !== undefined) response.addTrailers(fieldsOf(trailer));
    // Counted and never counted off: what ends this wait is that the response closes.
    unsent++;
    call.awaitsReader(cut);
    out.end();
  } finally {
    // Ends the handler's own loop where the client went away in the middle of it.
    pieces?.return?.().catch(() => undefined);
  }
}

/** An answer that is there as a whole. */
export interface WholeAnswer {
  readonly status: number;
  readonly header: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Sends it. A client that does not take it for too long is cut. */
export function sendWhole(response: NodeResponse, answer: WholeAnswer, call: OpenCall): void {
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.header)) response.setHeader(name, value);
  response.setHeader('content-length', answer.body.length);
  call.awaitsReader(() => cutOff(response));
  response.end(answer.body);
}

/** What is on its way to the client is thrown away: a stream that is only closed would wait for it to be read. */
function cutOff(response: NodeResponse): void {
  if (!('stream' in response)) {
    response.destroy();
    return;
  }
  response.stream.close(constants.NGHTTP2_CANCEL);
  response.stream.destroy();
}

async function drained(response: Writable): Promise<void> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort(goneAway());
  response.once('close', onClose);
  try {
    await once(response, 'drain', { signal: gone.signal });
  } catch {
    throw goneAway();
  } finally {
    response.off('close', onClose);
  }
}

function fieldsOf(header: Headers | undefined): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {};
  for (const [name, value] of header ?? []) {
    const before = fields[name];
    fields[name] = before === undefined ? value : [before, value].flat();
  }
  return fields;
}

function goneAway(): ConnectError {
  return new ConnectError('the client went away', Code.Aborted);
}
