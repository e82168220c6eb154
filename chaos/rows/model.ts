import { checkSpoolModel } from '../../test/ingest/spool/spool-model.ts';
import { tryProperty } from '../properties.ts';
import type { Context, Finding, Row } from '../row.ts';

export const model: Row = {
  name: 'model',
  promise: 'The spool does what a small model of it does, on a disk that loses unsynced pages in any order.',
  trials: { full: 1_000_000, quick: 20_000 },
  tools: [],
  run: ({ trials, seed }: Context): Promise<Finding> => tryProperty(trials, () => checkSpoolModel(trials, seed)),
};
