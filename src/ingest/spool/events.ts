/** Something wrong with what lies on disk, found when opening or reading. */
export interface Damage {
  readonly reason: DamageReason;
  /** The segment that the damage is in, or the last whole one before it. */
  readonly segment: number;
  /** Where it starts in the segment, and how far it goes; 0 bytes where nothing is left to look at. */
  readonly offset: number;
  readonly bytes: number;
  /** Records that are gone; `undefined` where what lay before is recycled, so that nobody can tell. */
  readonly lostRecords: number | undefined;
  /** Those of them that had not been marked as applied: only these are a loss. */
  readonly lostUnapplied: number;
  /** `possibly`: the last group before a crash looks the same where it was being written and not yet acknowledged. */
  readonly acknowledged: 'certainly' | 'possibly';
  /** The file in the quarantine folder that holds the bad bytes; `undefined` where there are none, or no room. */
  readonly copy: string | undefined;
}

/**
 * - `frame`: bad bytes with whole records of the same segment behind them
 * - `header`: both copies of a segment's header are bad
 * - `segment-end`: the next segment starts with a later record than the one that should follow
 * - `segment-missing`: segment files are gone from between others
 * - `spool-end`: the applied mark knows of records behind the last one found
 * - `mark`: the applied mark is gone; everything is delivered again
 */
export type DamageReason = 'frame' | 'header' | 'segment-end' | 'segment-missing' | 'spool-end' | 'mark';

/** What the spool tells of itself, for logs and metrics. Listeners must not throw. */
export type SpoolEvent =
  /** A group is on disk; told after its appends were resolved. */
  | {
      readonly type: 'group-synced';
      readonly bytes: number;
      readonly records: number;
      readonly durationMs: number;
    }
  /** A write or sync failed: the segment is not written to again. */
  | { readonly type: 'poisoned'; readonly segment: number; readonly error: unknown }
  /** A second segment failed as well: nothing more is taken. Stop the process. */
  | { readonly type: 'failed'; readonly error: unknown }
  /** An append was turned away for lack of room. */
  | { readonly type: 'refused'; readonly reason: RefusalReason }
  | ({ readonly type: 'quarantined' } & Damage)
  /** The spool was opened; `records` and `bytes` count all that was found, applied or not. */
  | {
      readonly type: 'recovered';
      readonly segments: number;
      readonly records: number;
      readonly bytes: number;
      readonly unappliedRecords: number;
      readonly durationMs: number;
    }
  /** Preparing, recycling or closing a file failed; it is tried again when next needed. */
  | { readonly type: 'upkeep-failed'; readonly what: string; readonly error: unknown };

/** `quota`: 80 % of the quota is unapplied; `disk`: the disk is low; `queue`: too much is waiting to be written. */
export type RefusalReason = 'quota' | 'disk' | 'queue';

export type SpoolListener = (event: SpoolEvent) => void;
