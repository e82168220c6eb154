import { codeOf } from '../src/lib/failure.ts';

/** How a connection fails that its other end has cut, or that is written to after that. */
export const CUT: readonly string[] = ['ECONNRESET', 'EPIPE'];

/**
 * What came of something that may fail in these ways and in no other.
 * @param codes of errors of the system, e.g. `ENOENT`
 * @returns `undefined` where it failed in one of them
 * @throws every other reason
 */
export async function unless<T>(codes: readonly string[], work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (reason) {
    if (!codes.includes(String(codeOf(reason)))) throw reason;
    return undefined;
  }
}
