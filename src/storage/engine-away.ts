import { CircuitBreaker, type CircuitChange, type Said } from '../lib/circuit-breaker.ts';
import { codeOf, messageOf } from '../lib/failure.ts';

/** The system's, of a connection that cannot be made or has ended. */
const SYSTEM_CODES = 'ECONNREFUSED ECONNRESET EPIPE ETIMEDOUT EHOSTUNREACH ENETUNREACH ENOTFOUND EAI_AGAIN';
/** PostgreSQL's: it is stopped, has crashed, is starting, or has no connection left. */
const POSTGRES_CODES = '57P01 57P02 57P03 53300';
const AWAY_CODES: ReadonlySet<unknown> = new Set(`${SYSTEM_CODES} ${POSTGRES_CODES}`.split(' '));
/** The driver of PostgreSQL, where no connection of the pool came free in time. */
const NONE_FREE = 'timeout exceeded when trying to connect';
/** The driver of PostgreSQL, where a statement was not answered in time, not even by its being cancelled. */
export const NOT_ANSWERED = 'Query read timeout';
/** What the drivers say where they give no code: that of ClickHouse first, then those of PostgreSQL. */
const AWAY_MESSAGE = new RegExp(`^(Timeout error\\.|${NONE_FREE}|${NOT_ANSWERED}|Connection terminated\\b.*)$`);
const LIMITS = { failuresMax: 3, delayMs: 200, delayMsMax: 5_000 };

/** Whether an error says that an engine cannot be reached, is just starting, or does not answer: later it may. */
export function isEngineAway(reason: unknown): boolean {
  if (!(reason instanceof Error)) return false;
  if (AWAY_CODES.has(codeOf(reason)) || AWAY_MESSAGE.test(messageOf(reason))) return true;
  // The socket of PostgreSQL is a file, which is not there while it is down. Other missing files are something else.
  return codeOf(reason) === 'ENOENT' && 'syscall' in reason && reason.syscall === 'connect';
}

/**
 * Keeps calls from an engine after three in a row that could not reach it, and lets one try every five seconds at most. An
 * engine that answers with an error is there; that all connections are in use says nothing of it.
 */
export function engineBreaker(target: string, onChange: (change: CircuitChange) => void): CircuitBreaker {
  return new CircuitBreaker({ ...LIMITS, target, says, onChange });
}

function says(reason: unknown): Said {
  if (!isEngineAway(reason)) return 'answered';
  return messageOf(reason) === NONE_FREE ? 'nothing' : 'failed';
}
