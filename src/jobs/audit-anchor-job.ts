import { type AnchorStore, anchorHead, headHasMoved } from '../audit/anchors.ts';
import type { Job } from './scheduler.ts';

const TIMEOUT_MS = 60_000;

/**
 * Copies the head of the audit trail out of reach of whoever can change PostgreSQL alone. It has no periods. A head that
 * has gone back fails the run: somebody cut the trail.
 */
export function auditAnchorJob({ schedule, store }: { readonly schedule: string; readonly store: AnchorStore }): Job {
  return {
    name: 'audit-anchor',
    schedule,
    timeoutMs: TIMEOUT_MS,
    due: async (_, signal) => ((await headHasMoved(store, signal)) ? [''] : []),
    async run(_, signal) {
      const anchor = await anchorHead(store, signal);
      return anchor === undefined ? 'the head has not moved' : `record ${anchor.sequence} anchored`;
    },
  };
}
