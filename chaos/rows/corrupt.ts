import { checkDamage } from '../../test/ingest/spool/damage.ts';
import { tryProperty } from '../properties.ts';
import type { Context, Finding, Row } from '../row.ts';

export const corrupt: Row = {
  name: 'corrupt',
  promise:
    'Bits flipped, spans zeroed, duplicated or cut in segments: no wrong record is delivered, each missing one is counted.',
  trials: { full: 10_000, quick: 500 },
  tools: [],
  run: ({ trials, seed }: Context): Promise<Finding> => tryProperty(trials, () => checkDamage(trials, seed)),
};
