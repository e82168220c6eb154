import { CallerFault } from '../lib/failure.ts';

/**
 * Values travel in the address of a request, of which ClickHouse takes 1 MiB, and of each value 128 KiB as it stands there, where
 * nothing else is set (`http_max_field_value_size`). A statement with a longer one fails whenever it is tried.
 */
const VALUE_BYTES_MAX = 128 * 1024 - 100;
/** Two quotes and a comma, each as `%27` or `%2C`. */
const AROUND_BYTES = 9;

/** What a text takes in a list, as it stands in an address: most bytes as `%41`, a quote or backslash with a backslash before it. */
function listedBytes(text: string): number {
  const plain = text.match(/[A-Za-z0-9._-]/g)?.length ?? 0;
  const escaped = text.match(/['\\]/g)?.length ?? 0;
  return plain + 3 * (Buffer.byteLength(text) - plain + escaped) + AROUND_BYTES;
}

/** The items in order, in lists whose texts fit into one value each. */
export function inValues<T>(items: readonly T[], textOf: (item: T) => string, itemsMax: number): T[][] {
  const lists: T[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const more = listedBytes(textOf(item));
    if (bytes + more > VALUE_BYTES_MAX || lists.at(-1)?.length === itemsMax) {
      lists.push([]);
      bytes = 0;
    }
    lists.at(-1)?.push(item);
    bytes += more;
  }
  return lists;
}

/** @throws CallerFault invalid_argument where the names of a filter are too many, or too long together */
export function checkFilter(field: string, names: readonly string[], namesMax: number): void {
  const refused = (problem: string): CallerFault => new CallerFault('invalid_argument', field, `${field} ${problem}`);
  if (names.length > namesMax) throw refused(`has ${names.length} entries, more than ${namesMax}`);
  const bytes = names.reduce((sum, name) => sum + listedBytes(name), 0);
  if (bytes > VALUE_BYTES_MAX)
    throw refused(`takes ${bytes} bytes as ClickHouse is sent it, more than ${VALUE_BYTES_MAX}`);
}
