import { CallerFault } from './failure.ts';

/** What the old hosts sent for "no customer". Usage of nobody is refused, and nobody may be registered under it. */
const NO_CUSTOMER_ID = 'default-customer';
const ID_BYTES_MAX = 128;

/**
 * The one rule for ids, of what is metered and what is billed alike: 1 to `bytesMax` bytes of UTF-8 without
 * control characters. So ids can be joined with a NUL between them.
 * @param field as the contract spells it
 * @throws CallerFault invalid_argument
 */
export function parseId(field: string, value: string, bytesMax: number = ID_BYTES_MAX): string {
  if (value === '') throw invalid(field, `${field} is empty`);
  const bytes = Buffer.byteLength(value);
  if (bytes > bytesMax) throw invalid(field, `${field} is ${bytes} bytes long, more than ${bytesMax}`);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code >= 0x20 && code !== 0x7f) continue;
    throw invalid(field, `${field}: ${JSON.stringify(value)} has a control character at ${i}`);
  }
  return value;
}

/** @throws CallerFault invalid_argument where it is no id, or the id of no customer */
export function parseCustomerId(field: string, value: string): string {
  if (value === NO_CUSTOMER_ID) throw invalid(field, `${field}: "${NO_CUSTOMER_ID}" stands for no customer`);
  return parseId(field, value);
}

function invalid(field: string, message: string): CallerFault {
  return new CallerFault('invalid_argument', field, message);
}
