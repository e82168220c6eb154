import { codeOf, messageOf } from '../lib/failure.ts';

/** The system's, of a connection that cannot be made or has ended. */
const SYSTEM_CODES = 'ECONNREFUSED ECONNRESET EPIPE ETIMEDOUT EHOSTUNREACH ENETUNREACH ENOTFOUND EAI_AGAIN';
/** PostgreSQL's: it is stopped, has crashed, is starting, or has no connection left. */
const POSTGRES_CODES = '57P01 57P02 57P03 53300';
const AWAY_CODES: ReadonlySet<unknown> = new Set(`${SYSTEM_CODES} ${POSTGRES_CODES}`.split(' '));
/** What the drivers say where they give no code: that of ClickHouse first, then those of PostgreSQL. */
const AWAY_MESSAGE = /^(Timeout error\.|timeout exceeded when trying to connect|Connection terminated\b.*)$/;

/** Whether an error says that an engine cannot be reached, is just starting, or does not answer: later it may. */
export function isEngineAway(reason: unknown): boolean {
  if (!(reason instanceof Error)) return false;
  if (AWAY_CODES.has(codeOf(reason)) || AWAY_MESSAGE.test(messageOf(reason))) return true;
  // The socket of PostgreSQL is a file, which is not there while it is down. Other missing files are something else.
  return codeOf(reason) === 'ENOENT' && 'syscall' in reason && reason.syscall === 'connect';
}
