import type { Readable } from 'node:stream';
import { Code, ConnectError } from '@connectrpc/connect';
import { toConnectError } from './errors.ts';
import type { OpenCall } from './open-call.ts';

/** A body comes in pieces of some size: so many small ones, and beyond that one for each so many bytes. */
const SMALL_PIECES_MAX = 1024;
const PIECE_BYTES_MIN = 64;
/** What Node keeps for each piece besides its bytes. */
const PIECE_OVERHEAD_BYTES = 256;
/** One byte of flags, four of length. */
const ENVELOPE_BYTES = 5;
/** Streams that clients send ask one question a message. */
const STREAM_MESSAGES_MAX = 1000;

/** Pieces of a body that belong together. */
class Pieces {
  readonly #call: OpenCall;
  readonly #bytesMax: number;
  readonly #pieces: Buffer[] = [];
  bytes = 0;

  constructor(call: OpenCall, bytesMax: number) {
    this.#call = call;
    this.#bytesMax = bytesMax;
  }

  /** @throws ConnectError RESOURCE_EXHAUSTED past one of the bounds */
  add(piece: Buffer): void {
    this.bytes += piece.length;
    if (this.bytes > this.#bytesMax) throw tooLarge(this.#bytesMax);
    this.#pieces.push(piece);
    if (this.#pieces.length > SMALL_PIECES_MAX + this.bytes / PIECE_BYTES_MIN) {
      const count = `${this.#pieces.length} pieces for ${this.bytes} bytes`;
      throw new ConnectError(`the body comes in ${count}; send larger ones`, Code.ResourceExhausted);
    }
    this.#call.hold(piece.length, PIECE_OVERHEAD_BYTES);
  }

  /** All of them as one, without a copy where there is one. */
  join(): Buffer {
    return this.#pieces.length === 1 && this.#pieces[0] !== undefined ? this.#pieces[0] : Buffer.concat(this.#pieces);
  }
}

export interface BodyBounds {
  readonly call: OpenCall;
  readonly bytesMax: number;
  /** As `content-length` has it, 0 where it says nothing. */
  readonly declaredBytes: number;
}

function tooLarge(bytesMax: number): ConnectError {
  return new ConnectError(`the body is larger than ${bytesMax} bytes`, Code.ResourceExhausted);
}

/**
 * The whole body of a call. Read by events: an iterator would cost a promise or two for each piece.
 * @throws ConnectError RESOURCE_EXHAUSTED where it is too large, comes in too many pieces, or there is no room for it;
 *   DEADLINE_EXCEEDED where it comes too slowly; ABORTED where the client goes away
 */
export function readBody(body: Readable, { call, bytesMax, declaredBytes }: BodyBounds): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces = new Pieces(call, bytesMax);
    const leave = (): void => {
      body.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      call.hasBody();
    };
    const fail = (reason: unknown): void => {
      leave();
      // What is still to come is thrown away by Node, until it is done or its time is over.
      body.on('error', () => undefined).resume();
      reject(toConnectError(reason));
    };
    const onData = (piece: Buffer): void => {
      try {
        pieces.add(piece);
      } catch (reason) {
        fail(reason);
      }
    };
    const onEnd = (): void => {
      leave();
      resolve(pieces.join());
    };
    const onError = (): void => fail(goneAway());
    const onClose = (): void => fail(goneAway());
    if (declaredBytes > bytesMax) {
      fail(tooLarge(bytesMax));
      return;
    }
    body.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
    call.awaitsBody(fail);
  });
}

function goneAway(): ConnectError {
  return new ConnectError('the client went away', Code.Aborted);
}

/**
 * The envelopes of a stream that a client sends, each in one piece: what is behind the adapter takes time that grows with
 * the square of the pieces.
 * @param bytesMax for each message
 * @throws ConnectError RESOURCE_EXHAUSTED where one is too large, comes in too many pieces, or there are too many of them
 */
export async function* readEnvelopes(body: Readable, call: OpenCall, bytesMax: number): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  let pieces = 0;
  let messages = 0;
  const awaitMore = (): void => call.awaitsBody((reason) => body.destroy(reason));
  awaitMore();
  for await (const piece of body) {
    rest = Buffer.concat([rest, piece]);
    if (++pieces > SMALL_PIECES_MAX)
      throw new ConnectError('a message comes in too many pieces', Code.ResourceExhausted);
    const end = endOfEnvelopes(rest);
    if (rest.length - end.at > bytesMax + ENVELOPE_BYTES) throw tooLarge(bytesMax);
    messages += end.count;
    if (messages > STREAM_MESSAGES_MAX) {
      throw new ConnectError(`more than ${STREAM_MESSAGES_MAX} messages in one stream`, Code.ResourceExhausted);
    }
    if (end.count === 0) continue;
    call.hasBody();
    yield rest.subarray(0, end.at);
    rest = rest.subarray(end.at);
    pieces = 0;
    awaitMore();
  }
  call.hasBody();
  if (rest.length > 0) yield rest;
}

/** How many envelopes are whole, and where the last of them ends. */
function endOfEnvelopes(bytes: Buffer): { readonly count: number; readonly at: number } {
  let [count, at] = [0, 0];
  while (at + ENVELOPE_BYTES <= bytes.length) {
    const end = at + ENVELOPE_BYTES + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) break;
    at = end;
    count++;
  }
  return { count, at };
}
