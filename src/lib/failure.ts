/**
 * Errors say whose fault they are. `CallerFault`: the request is wrong and will stay wrong. `NotNow`: the same request
 * may do later. Every other error is ours. `src/rpc/errors.ts` maps them to Connect codes, and nothing else does.
 */

/** What is wrong with a request. Each maps to the Connect code of the same name. */
export type CallerFaultKind =
  | 'invalid_argument'
  | 'unauthenticated'
  | 'permission_denied'
  | 'not_found'
  | 'already_exists'
  | 'failed_precondition'
  | 'out_of_range'
  | 'aborted';

/** The caller's fault. The message names the field, its value and the bound. */
export class CallerFault extends Error {
  readonly kind: CallerFaultKind;
  /** The field that is wrong, as the contract spells it; empty where no single field is. */
  readonly field: string;

  constructor(kind: CallerFaultKind, field: string, message: string) {
    super(message);
    this.name = 'CallerFault';
    this.kind = kind;
    this.field = field;
  }
}

/** A bound is reached or an engine is away; the same request may succeed later. */
export class NotNow extends Error {
  readonly kind: 'resource_exhausted' | 'unavailable';
  /** When trying again is worth it. */
  readonly retryAfterMs: number;

  constructor(kind: 'resource_exhausted' | 'unavailable', retryAfterMs: number, message: string) {
    super(message);
    this.name = 'NotNow';
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The message of anything that was thrown. */
export function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

/** The `code` of an error of the system (`ENOENT`), `undefined` where it has none. */
export function codeOf(reason: unknown): unknown {
  return reason instanceof Error && 'code' in reason ? reason.code : undefined;
}
