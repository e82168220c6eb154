import { CallerFault } from '../lib/failure.ts';

/** A regular expression for Unix nanoseconds in a token, up to the year 2255: ClickHouse takes none that pass 63 bits. */
export const NANOS_FORM = String.raw`(?:[0-8]\d{18}|\d{1,18})`;

/**
 * A page token is where the last page ended, as text, in base64url. Listings go on behind a key, not from a count, so a
 * row that comes or goes in between neither repeats nor hides another.
 */
export function toPageToken(lastKey: string | undefined): string {
  return lastKey === undefined ? '' : Buffer.from(lastKey).toString('base64url');
}

/** @returns `undefined` for the first page @throws CallerFault where `form` does not fit what the token says */
export function fromPageToken(token: string, form: RegExp): string | undefined {
  if (token === '') return undefined;
  const key = Buffer.from(token, 'base64url').toString();
  if (!form.test(key)) {
    throw new CallerFault(
      'invalid_argument',
      'page_token',
      `page_token: "${token.slice(0, 100)}" is not one of this list`,
    );
  }
  return key;
}

/** A page of what was asked for with one row more than the page holds: that row tells whether there is a next page. */
export function pageOf<T>(
  rows: readonly T[],
  size: number,
  keyOf: (row: T) => string,
): { page: T[]; nextPageToken: string } {
  const page = rows.slice(0, size);
  const last = page.at(-1);
  return { page, nextPageToken: toPageToken(rows.length > size && last !== undefined ? keyOf(last) : undefined) };
}
