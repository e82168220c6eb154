import { CallerFault } from '../lib/failure.ts';
import { parseId } from '../lib/identifier.ts';
import type { Party } from './invoice/invoice-input.ts';

const TEXT_BYTES_MAX = 400;
const LINES_MAX = 20;
const COUNTRY = /^[A-Z]{2}$/;

/**
 * Who sells or buys, as it stands on invoices. The name is required, everything else may be empty.
 * @param field where it is in the request, e.g. "seller"
 * @throws CallerFault invalid_argument
 */
export function parseParty(field: string, party: Party): Party {
  const { name, country } = party;
  parseId(`${field}.name`, name, TEXT_BYTES_MAX);
  if (country !== '' && !COUNTRY.test(country)) {
    const shown = JSON.stringify(country.slice(0, 20));
    const message = `${field}.country: ${shown} is no country of ISO 3166-1 in two letters, e.g. "DE"`;
    throw new CallerFault('invalid_argument', `${field}.country`, message);
  }
  return {
    name,
    addressLines: parseLines(`${field}.address_lines`, party.addressLines),
    country,
    taxId: parseText(`${field}.tax_id`, party.taxId),
    email: parseText(`${field}.email`, party.email),
  };
}

/** Lines of text, none of them empty. @throws CallerFault */
export function parseLines(field: string, lines: readonly string[]): readonly string[] {
  if (lines.length > LINES_MAX) {
    throw new CallerFault('invalid_argument', field, `${field}: ${lines.length} lines are more than ${LINES_MAX}`);
  }
  return lines.map((line, index) => parseId(`${field}[${index}]`, line, TEXT_BYTES_MAX));
}

/** One line of text; may be empty. @throws CallerFault */
export function parseText(field: string, text: string): string {
  return text === '' ? text : parseId(field, text, TEXT_BYTES_MAX);
}
