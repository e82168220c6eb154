import type { Finding } from './row.ts';

/**
 * Tries a property on so many random sequences.
 * @param check throws fast-check's error where a sequence breaks the property
 * @throws whatever else `check` throws
 */
export async function tryProperty(sequences: number, check: () => Promise<void>): Promise<Finding> {
  const limit = { sequences: { atLeast: sequences } };
  try {
    await check();
    return { observed: { sequences, broken: 0 }, limit, wrong: [] };
  } catch (reason) {
    if (!(reason instanceof Error && reason.message.startsWith('Property failed'))) throw reason;
    return { observed: { sequences, broken: 1 }, limit, wrong: [reason.message] };
  }
}
