import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { CallerFault, NotNow } from '../../src/lib/failure.ts';
import { isOurs, toConnectError } from '../../src/rpc/errors.ts';

describe('toConnectError', () => {
  it("keeps the caller's faults with their message", () => {
    const error = toConnectError(new CallerFault('out_of_range', 'window_end', 'window_end: too late'));
    expect([error.code, error.rawMessage, isOurs(error)]).toEqual([Code.OutOfRange, 'window_end: too late', false]);
  });

  it('says when to try again', () => {
    const error = toConnectError(new NotNow('resource_exhausted', 1500, 'the spool is full'));
    expect([error.code, error.metadata.get('retry-after')]).toEqual([Code.ResourceExhausted, '2']);
    expect(toConnectError(new NotNow('unavailable', 1, 'x')).metadata.get('retry-after')).toBe('1');
    // As of a circuit that is drawn by chance when it is tried.
    const [parts] = toConnectError(new NotNow('unavailable', 555.817395, 'x')).details;
    expect(parts).toMatchObject({ desc: RetryInfoSchema, value: { retryDelay: { seconds: 0n, nanos: 556_000_000 } } });
  });

  it('calls an engine that cannot be reached UNAVAILABLE, and says nothing of where it is', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:8123'), { code: 'ECONNREFUSED' });
    const starting = Object.assign(new Error('the database system is starting up'), { code: '57P03' });
    const noSocket = Object.assign(new Error('connect ENOENT'), { code: 'ENOENT', syscall: 'connect' });
    for (const reason of [refused, starting, noSocket, new Error('Connection terminated unexpectedly')]) {
      const error = toConnectError(reason);
      expect([error.code, error.metadata.get('retry-after'), isOurs(error)]).toEqual([Code.Unavailable, '2', false]);
      expect(error.rawMessage).toBe('storage cannot be reached now; try again');
    }
    const noFile = Object.assign(new Error('open ENOENT'), { code: 'ENOENT', syscall: 'open' });
    expect(toConnectError(noFile).code).toBe(Code.Internal);
  });

  it('says nothing of the inside of what is ours', () => {
    const error = toConnectError(new Error('row of customer acme is broken'));
    expect([error.code, isOurs(error)]).toEqual([Code.Internal, true]);
    expect(error.rawMessage).not.toContain('acme');
    expect(error.cause).toBeInstanceOf(Error);
  });

  it('passes on what is a Connect error already', () => {
    const error = new ConnectError('x', Code.Aborted);
    expect(toConnectError(error)).toBe(error);
  });
});
