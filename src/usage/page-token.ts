import { createHash } from 'node:crypto';
import { CallerFault } from '../lib/failure.ts';

/** Where a page ended. `start` is in Unix seconds; what was not grouped by is empty. */
export interface PageEnd {
  readonly start: number;
  readonly region: string;
  readonly vmId: string;
}

/** A token for the page behind `end`. It holds a hash of the request, so that it fits no other. */
export function pageToken(request: unknown, end: PageEnd): string {
  return Buffer.from(JSON.stringify([requestHash(request), end.start, end.region, end.vmId])).toString('base64url');
}

/** @throws CallerFault where the token is not one of ours, or of another request */
export function parsePageToken(request: unknown, token: string): PageEnd {
  const [hash, start, region, vmId] = parse(token);
  if (
    typeof start !== 'number' ||
    !Number.isSafeInteger(start) ||
    typeof region !== 'string' ||
    typeof vmId !== 'string'
  ) {
    throw new CallerFault(
      'invalid_argument',
      'page_token',
      `page_token ${JSON.stringify(token)} is none that was given out`,
    );
  }
  if (hash !== requestHash(request)) {
    throw new CallerFault('invalid_argument', 'page_token', 'page_token belongs to a request with other fields');
  }
  return { start, region, vmId };
}

function parse(token: string): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    return Array.isArray(value) ? value : [];
  } catch {
    // Not JSON: no token of ours. The caller says so.
    return [];
  }
}

function requestHash(request: unknown): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('base64url').slice(0, 22);
}
