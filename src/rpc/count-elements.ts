import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { CallerFault } from '../lib/failure.ts';

/** As deep as protobuf's own decoders go; the contract's deepest message goes five deep. */
const DEPTH_MAX = 100;
const [QUOTE, BACKSLASH, COMMA, OPEN_ARRAY, OPEN_OBJECT, CLOSE_ARRAY, CLOSE_OBJECT] = Buffer.from('"\\,[{]}');
const [ZERO, NINE, EXPONENT] = [0x30, 0x39, 0x65];
/** 2^53 has 16 digits. */
const LONG_DIGITS = 16;

/**
 * Bounds what decoding may make of a protobuf message, without decoding it: two bytes of an empty repeated field become an
 * object of 400.
 * @throws CallerFault where it has more elements, fields and entries together, or is nested deeper than 100 messages
 * @throws RangeError where it is cut off
 */
export function checkBinaryElements(input: DescMessage, message: Uint8Array, elementsMax: number): void {
  const reader = new BinaryReader(message);
  let left = elementsMax;
  const walk = (type: DescMessage | undefined, end: number, depth: number): void => {
    if (depth > DEPTH_MAX) throw tooDeep();
    while (reader.pos < end) {
      if (--left < 0) throw tooMany(elementsMax);
      const [number, wireType] = reader.tag();
      if (wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, number);
        continue;
      }
      const bytes = reader.uint32();
      const until = reader.pos + bytes;
      if (until > end) throw new RangeError('premature EOF');
      const field = type === undefined ? undefined : fieldsOf(type).get(number);
      if (field?.nested !== undefined) walk(field.nested, until, depth + 1);
      // At most an entry for each byte.
      else if (field?.isPacked === true && (left -= bytes) < 0) throw tooMany(elementsMax);
      reader.pos = until;
    }
  };
  walk(input, message.length, 1);
}

/**
 * The same for JSON, by its commas and brackets. Whether it is JSON at all is left to its parser.
 * @returns whether a number in it may be one that JSON rounds: one of 16 digits or with an exponent
 */
export function checkJsonElements(text: Uint8Array, elementsMax: number): boolean {
  let [elements, depth, digits] = [0, 0, 0];
  let [inString, hasLongNumber] = [false, false];
  for (let at = 0; at < text.length; at++) {
    const byte = text[at] ?? 0;
    if (inString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inString = false;
      continue;
    }
    if (byte >= ZERO && byte <= NINE) {
      if (++digits === LONG_DIGITS) hasLongNumber = true;
      continue;
    }
    // Small and large letters differ by one bit.
    if (digits > 0 && (byte | 0x20) === EXPONENT) hasLongNumber = true;
    digits = 0;
    if (byte === QUOTE) inString = true;
    else if (byte === COMMA) elements++;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      elements++;
      if (++depth > DEPTH_MAX) throw tooDeep();
    } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth--;
  }
  if (elements > elementsMax) throw tooMany(elementsMax);
  return hasLongNumber;
}

/** What the bytes of a field may hold. */
interface Content {
  readonly nested: DescMessage | undefined;
  readonly isPacked: boolean;
}

const known = new WeakMap<DescMessage, ReadonlyMap<number, Content>>();

function fieldsOf(type: DescMessage): ReadonlyMap<number, Content> {
  const found = known.get(type);
  if (found !== undefined) return found;
  const fields = new Map(type.fields.map((field) => [field.number, contentOf(field)]));
  known.set(type, fields);
  return fields;
}

function contentOf(field: DescField): Content {
  if (field.fieldKind === 'map') return { nested: undefined, isPacked: true };
  const isList = field.fieldKind === 'list' && field.listKind !== 'message';
  const isText = field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES;
  return { nested: field.message, isPacked: isList && !isText };
}

function tooMany(elementsMax: number): CallerFault {
  const message = `the body has more than ${elementsMax} elements, fields and entries of lists together`;
  return new CallerFault('invalid_argument', '', message);
}

function tooDeep(): CallerFault {
  return new CallerFault('invalid_argument', '', `the body is nested deeper than ${DEPTH_MAX} messages`);
}
