import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import { parseDecimalField } from '../decimal-field.ts';
import type { DiscountTerms } from '../rating/plan-content.ts';

/** Terms of a discount as callers give them: the contract's message, with decimals as text. */
export interface DiscountTermsText {
  readonly description: string;
  readonly value:
    | { readonly case: 'percent' | 'amount'; readonly value: string }
    | { readonly case: undefined; readonly value?: undefined };
  readonly chargeIds: readonly string[];
  readonly order: number;
}

const DESCRIPTION_BYTES_MAX = 400;
const CHARGE_IDS_MAX = 200;

/** @param field where the terms are in the request, e.g. "discount.terms" @throws CallerFault naming what is wrong */
export function parseDiscountTerms(field: string, terms: DiscountTermsText): DiscountTerms {
  const { order } = terms;
  return {
    description: parseDescription(`${field}.description`, terms.description),
    value: parseValue(field, terms.value),
    chargeIds: parseIds(`${field}.charge_ids`, terms.chargeIds, CHARGE_IDS_MAX),
    order,
  };
}

/** Text for the invoice; may be empty. @throws CallerFault */
export function parseDescription(field: string, text: string): string {
  return text === '' ? text : parseId(field, text, DESCRIPTION_BYTES_MAX);
}

/** Ids, each of them once. @throws CallerFault */
export function parseIds(field: string, ids: readonly string[], countMax: number): readonly string[] {
  checkCount(field, ids, countMax);
  for (const [index, id] of ids.entries()) {
    parseId(`${field}[${index}]`, id);
    if (ids.indexOf(id) < index) throw invalid(`${field}[${index}]`, `${JSON.stringify(id)} is there twice`);
  }
  return [...ids];
}

/** @throws CallerFault */
export function checkCount(field: string, all: readonly unknown[], countMax: number): void {
  if (all.length > countMax) throw invalid(field, `${all.length} are more than ${countMax}`);
}

export function invalid(field: string, problem: string): CallerFault {
  return new CallerFault('invalid_argument', field, `${field}: ${problem}`);
}

function parseValue(field: string, value: DiscountTermsText['value']): DiscountTerms['value'] {
  switch (value.case) {
    case 'percent':
      return {
        kind: 'percent',
        percent: parseDecimalField(`${field}.percent`, value.value, { sign: 'above 0', max: 100n }),
      };
    case 'amount':
      return { kind: 'amount', amount: parseDecimalField(`${field}.amount`, value.value, { sign: 'above 0' }) };
    case undefined:
      throw invalid(field, 'neither percent nor amount is given');
  }
}
