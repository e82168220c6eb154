import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { type DescMessage, type DescMethod, fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';

import { messageOf } from '../lib/failure.ts';

type Header = Pick<Headers, 'get'>;

/** One byte of flags, four of length. */
const ENVELOPE_BYTES = 5;

/** A call whose body is read. */
export interface CheckedCall {
  /** Takes one message. */
  readonly method: Pick<DescMethod, 'input'>;
  readonly header: Header;
  /** One over it is passed on for the decoder to refuse. */
  readonly bytesMax: number;
  /** Takes out of a protobuf message what is read in a way of its own. @returns what is left for the decoder */
  readonly setAside?: ((message: Uint8Array) => Uint8Array) | undefined;
}

/**
 * Looks through a request's body before it is decoded, for two faults of the caller that the decoder gets wrong:
 *
 * - JSON has one kind of number, and reading one past 2^53 rounds it without a word: 9007199254740993 bytes would be
 *   billed as 9007199254740992. Here it is an error that names its field; as a string, as protobuf's JSON writes 64-bit
 *   integers, it is exact.
 * - Protobuf that is cut off or garbled is answered INTERNAL by the decoder. Here it is INVALID_ARGUMENT.
 *
 * @throws ConnectError INVALID_ARGUMENT, out of the returned body
 */
export async function* checkedBody(body: AsyncIterable<Uint8Array>, call: CheckedCall): AsyncGenerator<Uint8Array> {
  const { method, header, bytesMax, setAside } = call;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      yield* chunks;
      yield chunk;
      yield* body;
      return;
    }
    chunks.push(chunk);
  }
  const whole = chunks.length === 1 && chunks[0] instanceof Buffer ? chunks[0] : Buffer.concat(chunks);
  const messages = messagesOf(whole, header, bytesMax);
  if (isJson(header.get('content-type'))) for (const message of messages) checkNumbers(message.toString());
  else if (setAside === undefined) for (const message of messages) checkBinary(method.input, message);
  // More or fewer messages than one are left to the decoder, which tells of them rightly.
  else if (messages[0] !== undefined && messages.length === 1) {
    yield withMessage(whole, messages[0], setAside(messages[0]));
    return;
  }
  yield whole;
}

/** The body with another message in place of its own; where it came compressed, as it came. */
function withMessage(body: Buffer, message: Buffer, other: Uint8Array): Uint8Array {
  const start = message.buffer === body.buffer ? message.byteOffset - body.byteOffset : -1;
  if (start < 0 || start + message.length !== body.length) return body;
  if (start === 0) return other;
  const head = Buffer.alloc(ENVELOPE_BYTES);
  head.writeUInt32BE(other.length, 1);
  return Buffer.concat([head, other]);
}

/** Whether messages are JSON, alone (`application/json`) or in envelopes (`application/connect+json`, …). */
export function isJson(contentType: string | null | undefined): boolean {
  return contentType !== null && contentType !== undefined && /^application\/(\S+\+)?json\b/i.test(contentType);
}

/** The messages, unpacked; an envelope that is cut off is left to the decoder, which tells of it rightly. */
function messagesOf(body: Buffer, header: Header, bytesMax: number): Buffer[] {
  if (/^application\/(json|proto)\b/i.test(header.get('content-type') ?? '')) {
    return [decompress(body, header.get('content-encoding'), bytesMax)];
  }
  const encoding = header.get('grpc-encoding') ?? header.get('connect-content-encoding');
  const messages: Buffer[] = [];
  for (let at = 0; at + ENVELOPE_BYTES <= body.length;) {
    const compressed = (body.readUInt8(at) & 1) === 1;
    const start = at + ENVELOPE_BYTES;
    const end = start + body.readUInt32BE(at + 1);
    if (end > body.length) return messages;
    messages.push(decompress(body.subarray(start, end), compressed ? encoding : null, bytesMax));
    at = end;
  }
  return messages;
}

function decompress(bytes: Buffer, encoding: string | null, bytesMax: number): Buffer {
  try {
    if (encoding === 'gzip') return gunzipSync(bytes, { maxOutputLength: bytesMax });
    if (encoding === 'br') return brotliDecompressSync(bytes, { maxOutputLength: bytesMax });
    return bytes;
  } catch (cause) {
    const message = `the body is not ${encoding}, or passes ${bytesMax} bytes unpacked`;
    throw new ConnectError(message, Code.InvalidArgument, undefined, undefined, cause);
  }
}

function checkBinary(input: DescMessage, message: Buffer): void {
  try {
    fromBinary(input, message);
  } catch (cause) {
    throw notA(input, cause);
  }
}

/** A body that is cut off or garbled, with the decoder's reason. */
export function notA(input: DescMessage, cause: unknown): ConnectError {
  const text = `the body is not a ${input.typeName}: ${messageOf(cause)}`;
  return new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
}

/** A reviver sees each number's own text, which `JSON.parse` itself has rounded by then. */
function checkNumbers(text: string): void {
  try {
    JSON.parse(text, (key: string, value: unknown, context?: { source?: string }) => {
      if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER) {
        const message = `${key}: ${context?.source ?? value} is a JSON number beyond 2^53; send 64-bit integers as strings`;
        throw new ConnectError(message, Code.InvalidArgument);
      }
      return value;
    });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    const message = `the body is not JSON: ${cause.message}`;
    throw new ConnectError(message, Code.InvalidArgument, undefined, undefined, cause);
  }
}
