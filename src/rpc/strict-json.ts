import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { Code, ConnectError } from '@connectrpc/connect';

type Header = Pick<Headers, 'get'>;

/**
 * JSON has one kind of number, and reading one past 2^53 rounds it without a word: 9007199254740993 bytes would be
 * billed as 9007199254740992. So a request in JSON is looked through before it is decoded, and such a number is an error
 * that names its field; as a string, as protobuf's JSON writes 64-bit integers, it is exact.
 *
 * @param body the request's body; one over `bytesMax` is passed on for the decoder to refuse
 * @throws ConnectError INVALID_ARGUMENT, out of the returned body
 */
export async function* strictJson(
  body: AsyncIterable<Uint8Array>,
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
  for (const text of messageTexts(whole, header, bytesMax)) checkNumbers(text);
  yield whole;
}

/** Whether a request's messages are JSON, alone (`application/json`) or in envelopes (`application/connect+json`, …). */
export function isJson(contentType: string | null): boolean {
  return contentType !== null && /^application\/(\S+\+)?json\b/i.test(contentType);
}

/** The messages' texts; what cannot be read is left to the decoder, whose error is the better one. */
function messageTexts(body: Buffer, header: Header, bytesMax: number): string[] {
  if (/^application\/json\b/i.test(header.get('content-type') ?? '')) {
    return [decompress(body, header.get('content-encoding'), bytesMax)];
  }
  const encoding = header.get('grpc-encoding') ?? header.get('connect-content-encoding');
  const texts: string[] = [];
  for (let at = 0; at + 5 <= body.length;) {
    const compressed = (body.readUInt8(at) & 1) === 1;
    const end = at + 5 + body.readUInt32BE(at + 1);
    texts.push(decompress(body.subarray(at + 5, end), compressed ? encoding : null, bytesMax));
    at = end;
  }
  return texts;
}

function decompress(bytes: Buffer, encoding: string | null, bytesMax: number): string {
  try {
    if (encoding === 'gzip') return gunzipSync(bytes, { maxOutputLength: bytesMax }).toString();
    if (encoding === 'br') return brotliDecompressSync(bytes, { maxOutputLength: bytesMax }).toString();
    return bytes.toString();
  } catch (reason) {
    throw new ConnectError(`the body is not ${encoding}, or passes ${bytesMax} bytes unpacked`, Code.InvalidArgument, {
      reason: String(reason),
    });
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
  } catch (reason) {
    if (reason instanceof ConnectError) throw reason;
    if (!(reason instanceof SyntaxError)) throw reason;
    throw new ConnectError(`the body is not JSON: ${reason.message}`, Code.InvalidArgument);
  }
}
