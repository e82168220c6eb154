import { describe, it } from 'vitest';
import { checkSpoolModel } from './spool-model.ts';

describe('the spool against its model, on a disk that loses what was not synced', () => {
  it('keeps every promise, invents nothing, keeps the order', async () => {
    await checkSpoolModel(Number(process.env['SPOOL_MODEL_RUNS'] ?? 300));
  });
});
