/** Ids travel in the address of a query, of which ClickHouse takes 1 MiB. */
const CUSTOMERS_MAX = 1_000;

/** Those of one key together, as many as a statement can name. */
export function inGroups<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups: T[][] = [];
  const open = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    let group = open.get(name);
    if (group === undefined || group.length === CUSTOMERS_MAX) {
      group = [];
      groups.push(group);
      open.set(name, group);
    }
    group.push(item);
  }
  return groups;
}
