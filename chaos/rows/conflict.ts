import { checkIngestModel } from '../../test/ingest/ingest-model.ts';
import { tryProperty } from '../properties.ts';
import type { Context, Finding, Row } from '../row.ts';

export const conflict: Row = {
  name: 'conflict',
  promise:
    'Contradicting reports, duplicates of unsynced windows, failed writes sent again: nothing dropped silently, nothing acknowledged early.',
  trials: { full: 100_000, quick: 2_000 },
  tools: [],
  run: ({ trials, seed }: Context): Promise<Finding> => tryProperty(trials, () => checkIngestModel(trials, seed)),
};
