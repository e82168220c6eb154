import { setImmediate as nextTurn } from 'node:timers/promises';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { type DescMessage, type DescMethod, fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { CallerFault, codeOf, messageOf } from '../lib/failure.ts';
import { checkBinaryElements, checkJsonElements } from './count-elements.ts';
import { toConnectError } from './errors.ts';

type Header = Pick<Headers, 'get'>;

/** One byte of flags, four of length. */
const ENVELOPE_BYTES = 5;
const COMPRESSED = 1;
/** Looked through within a millisecond or so. */
const LARGE_BYTES = 65_536;

/** A body may have an element for so many of its largest size: 131,072 in 1 MiB. A window has some 20 in over 100 bytes. */
const ELEMENT_BYTES_MIN = 8;
/** In JSON, where names are written out: 65,536 in 1 MiB. */
const JSON_ELEMENT_BYTES_MIN = 16;

/** A call whose body is read. */
export interface CheckedCall {
  /** Takes one message. */
  readonly method: Pick<DescMethod, 'input'>;
  readonly header: Header;
  /** Of the body once it is unpacked. */
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
 * And it is counted what decoding would make of it: two bytes may become an object of 400.
 *
 * @param read gives the whole body, once it is asked for
 * @throws ConnectError INVALID_ARGUMENT, RESOURCE_EXHAUSTED where it is larger than allowed once unpacked; out of the
 *   returned body, as what `read` throws
 */
export async function* checkedBody(read: () => Promise<Buffer>, call: CheckedCall): AsyncGenerator<Uint8Array> {
  const { method, header, bytesMax, setAside } = call;
  const isText = isJson(header.get('content-type'));
  const elementsMax = isText ? Math.ceil(bytesMax / JSON_ELEMENT_BYTES_MIN) : elementsMaxOf(bytesMax);
  const whole = await read();
  if (whole.length > LARGE_BYTES || isPacked(header)) await ownTurn();
  const message = soleMessage(whole, header, bytesMax);
  // That there is none is left to the decoder, which tells of it rightly.
  if (message !== undefined && isText) checkJson(message, elementsMax);
  else if (message !== undefined && setAside === undefined) checkBinary(method.input, message, elementsMax);
  else if (message !== undefined && setAside !== undefined) {
    const rest = setAside(message);
    checkBinary(method.input, rest, elementsMax);
    yield withMessage(whole, rest, header);
    return;
  }
  yield whole;
}

/** The body with another message in place of its own. Alone, it is packed again: the decoder was told that it is. */
function withMessage(body: Buffer, message: Uint8Array, header: Header): Uint8Array {
  if (isAlone(header)) {
    const encoding = header.get('content-encoding');
    if (encoding === 'gzip') return gzipSync(message);
    return encoding === 'br' ? brotliCompressSync(message) : message;
  }
  const head = Buffer.alloc(ENVELOPE_BYTES);
  // But for the flag that says it is packed.
  head.writeUInt8(body.readUInt8(0) & ~COMPRESSED);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

let lastTurn: Promise<void> = Promise.resolve();

/**
 * Unpacking and looking through a large body holds the event loop: it is done for one of them in each turn, so that sixteen that come
 * at once hold up nobody else.
 */
function ownTurn(): Promise<void> {
  lastTurn = lastTurn.then(() => nextTurn());
  return lastTurn;
}

/** Whether the body or its one message may be packed. */
function isPacked(header: Header): boolean {
  return ENCODINGS.some((name) => /^(gzip|br)$/.test(header.get(name) ?? ''));
}

const ENCODINGS = ['content-encoding', 'grpc-encoding', 'connect-content-encoding'];

/** Whether the body is the message, without an envelope. */
function isAlone(header: Header): boolean {
  return /^application\/(json|proto)\b/i.test(header.get('content-type') ?? '');
}

/** Whether messages are JSON, alone (`application/json`) or in envelopes (`application/connect+json`, …). */
export function isJson(contentType: string | null | undefined): boolean {
  return contentType !== null && contentType !== undefined && /^application\/(\S+\+)?json\b/i.test(contentType);
}

/**
 * The one message, unpacked; `undefined` where there is none.
 * @throws ConnectError where there are more: a megabyte of them could unpack to a thousand
 */
function soleMessage(body: Buffer, header: Header, bytesMax: number): Buffer | undefined {
  if (isAlone(header)) {
    return decompress(body, header.get('content-encoding'), bytesMax);
  }
  if (body.length === 0) return undefined;
  const end = body.length < ENVELOPE_BYTES ? Number.POSITIVE_INFINITY : ENVELOPE_BYTES + body.readUInt32BE(1);
  if (end > body.length) {
    throw new ConnectError(`the body is cut off after ${body.length} bytes`, Code.InvalidArgument);
  }
  if (end < body.length) throw new ConnectError('the method takes one message, and more came', Code.Unimplemented);
  const isCompressed = (body.readUInt8(0) & COMPRESSED) !== 0;
  const encoding = header.get('grpc-encoding') ?? header.get('connect-content-encoding');
  return decompress(body.subarray(ENVELOPE_BYTES), isCompressed ? encoding : null, bytesMax);
}

function decompress(bytes: Buffer, encoding: string | null, bytesMax: number): Buffer {
  try {
    if (encoding === 'gzip') return gunzipSync(bytes, { maxOutputLength: bytesMax });
    if (encoding === 'br') return brotliDecompressSync(bytes, { maxOutputLength: bytesMax });
    return bytes;
  } catch (cause) {
    if (codeOf(cause) === 'ERR_BUFFER_TOO_LARGE') {
      const message = `the body is larger than ${bytesMax} bytes once it is unpacked`;
      throw new ConnectError(message, Code.ResourceExhausted, undefined, undefined, cause);
    }
    const message = `the body is not ${encoding}: ${messageOf(cause)}`;
    throw new ConnectError(message, Code.InvalidArgument, undefined, undefined, cause);
  }
}

/** How many elements a protobuf message may have in a body of at most so many bytes. */
export function elementsMaxOf(bytesMax: number): number {
  return Math.ceil(bytesMax / ELEMENT_BYTES_MIN);
}

/** @throws ConnectError INVALID_ARGUMENT where it is cut off or garbled, or decoding would make too much of it */
export function checkBinary(input: DescMessage, message: Uint8Array, elementsMax: number): void {
  try {
    checkBinaryElements(input, message, elementsMax);
    fromBinary(input, message);
  } catch (cause) {
    throw cause instanceof CallerFault ? toConnectError(cause) : notA(input, cause);
  }
}

function checkJson(message: Buffer, elementsMax: number): void {
  let hasLongNumber = false;
  try {
    hasLongNumber = checkJsonElements(message, elementsMax);
  } catch (cause) {
    throw toConnectError(cause);
  }
  // Reading it costs as much here as in the decoder, which tells of everything else.
  if (hasLongNumber) checkNumbers(message.toString());
}

/** A body that is cut off or garbled, with the decoder's reason. */
export function notA(input: DescMessage, cause: unknown): ConnectError {
  const text = `the body is not a ${input.typeName}: ${messageOf(cause)}`;
  return new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
}

/** A reviver sees each number's own text, which `JSON.parse` itself has rounded by then. It takes ten times as long. */
function refuseRounded(key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
  const message = `${key}: ${context?.source ?? value} is a JSON number beyond 2^53; send 64-bit integers as strings`;
  throw new ConnectError(message, Code.InvalidArgument);
}

function checkNumbers(text: string): void {
  try {
    JSON.parse(text, refuseRounded);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    const message = `the body is not JSON: ${cause.message}`;
    throw new ConnectError(message, Code.InvalidArgument, undefined, undefined, cause);
  }
}
