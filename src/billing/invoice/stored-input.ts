import { decodeInput } from './input-text.ts';

/** Whose taxes an invoice has; empty where there are none. @param input as stored; null where none was kept, nor any tax */
export function taxRegionOf(input: string | null): string {
  const tax = input === null ? undefined : decodeInput(input).tax;
  return tax?.treatment === 'standard' ? tax.region : '';
}
