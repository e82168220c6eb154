import { Code, ConnectError, createClient, createRouterTransport, type Interceptor } from '@connectrpc/connect';
import { afterAll, describe, expect, it } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/grpc/health/v1/health_pb.ts';
import { CallLimits } from '../../src/rpc/call-limits.ts';
import { keepDeadline } from '../../src/rpc/deadline.ts';
import { kOpenCall, OpenCalls } from '../../src/rpc/open-call.ts';

const NONE = { callsPerSecondMax: 1e6, bodyBytesPerSecondMax: 1e9, callsAtOnceMax: 1e6 };
const PEER = { address: () => '', certificate: () => undefined };

function clientWith(workTimeoutMs: number, check: () => Promise<{ status: Status }>) {
  const limits = new CallLimits({ perKey: NONE, perAddress: NONE, bodyBytesAtOnceMax: 1e6 });
  const calls = new OpenCalls(limits, { workTimeoutMs, receiveTimeoutMs: 60_000, sendTimeoutMs: 60_000 });
  afterAll(() => calls.stop());
  const enter: Interceptor = (next) => (request) => {
    request.contextValues.set(kOpenCall, calls.enter(PEER));
    return next(request);
  };
  const transport = createRouterTransport((router) => router.service(Health, { check }), {
    router: { interceptors: [enter, keepDeadline] },
  });
  return createClient(Health, transport);
}

const never = () => new Promise<never>(() => undefined);
const answer = async () => ({ status: Status.SERVING });

describe('keepDeadline', () => {
  it('ends a call that came without a deadline', async () => {
    const late = { code: Code.DeadlineExceeded, rawMessage: 'the call took longer than it may' };
    await expect(clientWith(20, never).check({})).rejects.toMatchObject(late);
  });

  it('ends a call at the deadline that it came with', async () => {
    const call = clientWith(60_000, never).check({}, { timeoutMs: 20 });
    await expect(call).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  it('leaves answers and errors as they are', async () => {
    expect((await clientWith(60_000, answer).check({})).status).toBe(Status.SERVING);
    const failing = clientWith(60_000, () => Promise.reject(new ConnectError('full', Code.ResourceExhausted)));
    await expect(failing.check({})).rejects.toMatchObject({ code: Code.ResourceExhausted, rawMessage: 'full' });
  });
});
