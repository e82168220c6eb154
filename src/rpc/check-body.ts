import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { type DescMethod, fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { RawSendMetricsBatchRequestSchema } from '../../gen/meterd/internal/v1/raw_pb.ts';

type Header = Pick<Headers, 'get'>;

/**
 * Looks through a request's body before it is decoded, for two faults of the caller that the decoder gets wrong:
 *
 * - JSON has one kind of number, and reading one past 2^53 rounds it without a word: 9007199254740993 bytes would be
 *   billed as 9007199254740992. Here it is an error that names its field; as a string, as protobuf's JSON writes 64-bit
 *   integers, it is exact.
 * - Protobuf that is cut off or garbled is answered INTERNAL by the decoder. Here it is INVALID_ARGUMENT.
 *
 * @param body of a method that takes one message; one over `bytesMax` is passed on for the decoder to refuse
 * @throws ConnectError INVALID_ARGUMENT, out of the returned body
 */
export async function* checkedBody(
  body: AsyncIterable<Uint8Array>,
  method: Pick<DescMethod, 'input'>,
  header: Header,
  bytesMax: number,
): AsyncGenerator<Uint8Array> {
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
  const whole = Buffer.concat(chunks);
  const inJson = isJson(header.get('content-type'));
  for (const message of messagesOf(whole, header, bytesMax)) {
    if (inJson) checkNumbers(message.toString());
    else checkBinary(method, message);
  }
  yield whole;
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
  for (let at = 0; at + 5 <= body.length;) {
    const compressed = (body.readUInt8(at) & 1) === 1;
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) return messages;
    messages.push(decompress(body.subarray(at + 5, end), compressed ? encoding : null, bytesMax));
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

/**
 * Whether fields follow each other to the end of a message, with no look into them: what a decoder that leaves the fields
 * as bytes cannot fail on.
 */
function isWhole(message: Buffer): boolean {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = message[at++] ?? 0x80;
      if (shift < 28) value |= (byte & 0x7f) << shift;
      else if ((byte & 0x7f) !== 0) value = Number.MAX_SAFE_INTEGER;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (at < message.length) {
    const wireType = varint() & 7;
    if (wireType === 0) {
      if (Number.isNaN(varint())) return false;
    } else if (wireType === 2) at += varint();
    else return false;
  }
  return at === message.length;
}

function checkBinary(method: Pick<DescMethod, 'input'>, message: Buffer): void {
  if (method.input.typeName === RawSendMetricsBatchRequestSchema.typeName && isWhole(message)) return;
  try {
    fromBinary(method.input, message);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const text = `the body is not a ${method.input.typeName}: ${reason}`;
    throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
  }
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
