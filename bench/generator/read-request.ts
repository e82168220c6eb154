import { RowBatch } from '../../src/ingest/row-batch.ts';
import { splitBatch } from '../../src/ingest/wire-batch.ts';

const PROVENANCE = { credentialId: 'key', instanceId: 'metald-000000', sequence: 0n, receivedAtNanos: 1n };
const ANY_TIME = { afterSeconds: 0, beforeSeconds: Number.MAX_SAFE_INTEGER };

/** A request's windows, read from the wire as the service reads them. */
export function readRequest(request: Buffer): RowBatch {
  const { windows } = splitBatch(request);
  const rows = new RowBatch(windows.length, PROVENANCE, { bytes: windows.bytes, scope: ANY_TIME });
  for (let i = 0; i < windows.length; i++) {
    if (rows.addWire(windows.bounds[2 * i] ?? 0, windows.bounds[2 * i + 1] ?? 0)) continue;
    throw new Error('the generator made a window that is not read from the wire');
  }
  return rows;
}
