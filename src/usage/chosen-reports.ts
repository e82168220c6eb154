/**
 * The reports that somebody chose, of windows and, as windows without length, of readings; `WHERE` may follow. Later
 * decisions replace earlier ones.
 */
export const CHOSEN_REPORTS = `SELECT customer_id, vm_id, window_start, window_end, value_hash FROM conflict_resolutions FINAL`;
