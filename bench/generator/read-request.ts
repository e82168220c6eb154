import { RowBatch } from '../../src/ingest/row-batch.ts';
import { splitBatch } from '../../src/ingest/wire-batch.ts';
import { WireWindow } from '../../src/ingest/wire-window.ts';

const PROVENANCE = { credentialId: 'key', instanceId: 'metald-000000', sequence: 0n, receivedAtNanos: 1n };

/** A request's windows, read from the wire as the service reads them. */
export function readRequest(request: Buffer): RowBatch {
  const { windows } = splitBatch(request);
  const rows = new RowBatch(windows.length, PROVENANCE);
  const wire = new WireWindow();
  for (let i = 0; i < windows.length; i++) {
    const isRead = wire.read(windows.bytes, windows.bounds[2 * i] ?? 0, windows.bounds[2 * i + 1] ?? 0);
    if (!isRead || !rows.addWire(wire)) throw new Error('the generator made a window that is not read from the wire');
  }
  return rows;
}
