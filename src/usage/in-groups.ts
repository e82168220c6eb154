import { inValues } from './value-bytes.ts';

/** For the memory of one statement. */
const CUSTOMERS_MAX = 1_000;

/** Those of one key together, as many as a statement can name the customers of. */
export function inGroups<T extends { readonly customerId: string }>(
  items: readonly T[],
  key: (item: T) => string,
): T[][] {
  const groups = [...Map.groupBy(items, key).values()];
  return groups.flatMap((same) => inValues(same, ({ customerId }) => customerId, CUSTOMERS_MAX));
}
