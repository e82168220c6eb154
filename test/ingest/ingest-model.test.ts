import { describe, it } from 'vitest';
import { checkIngestModel } from './ingest-model.ts';

describe('validation, deduplication and spool against their model, on a disk that fails and forgets', () => {
  it('keeps every report that was answered for, makes up none, calls each contradiction a conflict', async () => {
    await checkIngestModel(300);
  });
});
