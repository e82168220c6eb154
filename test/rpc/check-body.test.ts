import { brotliCompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { Code } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { GetCustomerUsageRequestSchema } from '../../gen/billing/v1/query_pb.ts';
import { type CheckedCall, checkedBody } from '../../src/rpc/check-body.ts';
import { checkBinaryElements } from '../../src/rpc/count-elements.ts';

const BYTES_MAX = 1000;

async function read(
  body: Buffer | string,
  headers: Record<string, string> = {},
  setAside?: CheckedCall['setAside'],
): Promise<string> {
  const header = new Headers({ 'content-type': 'application/json', ...headers });
  const whole = async (): Promise<Buffer> => Buffer.from(body);
  const out: Uint8Array[] = [];
  const method = BillingCollectorService.method.sendMetricsBatch;
  for await (const chunk of checkedBody(whole, { method, header, bytesMax: BYTES_MAX, setAside })) out.push(chunk);
  return Buffer.concat(out).toString('latin1');
}

function envelope(payload: Buffer | string, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(Buffer.byteLength(payload), 1);
  return Buffer.concat([head, Buffer.from(payload)]);
}

describe('checkedBody', () => {
  it('passes a good body on as it is', async () => {
    const body = '{"metrics":[{"cpuTimeNanos":"18446744073709551615","diskReadBytes":9007199254740991}]}';
    expect(await read(body)).toBe(body);
  });

  it('names the field and the number that JSON would round', async () => {
    const body = '{"metrics":[{"cpuTimeNanos": 9007199254740993}]}';
    await expect(read(body)).rejects.toThrow(/cpuTimeNanos: 9007199254740993 is a JSON number beyond 2\^53/);
    await expect(read('{"a":[-9007199254740992]}')).rejects.toThrow(/-9007199254740992/);
    await expect(read('{"a":1e300}')).rejects.toThrow(/1e300/);
  });

  it('does not mind digits inside strings', async () => {
    const body = '{"vmId":"90071992547409931234","note":"{\\"a\\":9007199254740993}"}';
    expect(await read(body)).toBe(body);
  });

  it('says where a body stops being JSON', async () => {
    await expect(read('{"metrics":[{"cpuTimeNanos":1234567890123456')).rejects.toThrow(/the body is not JSON/);
    // Where no number may be rounded, that is left to the decoder.
    const cutOff = '{"metrics":[{"vmId":"a"';
    expect(await read(cutOff)).toBe(cutOff);
  });

  it('looks through one large or packed body in each turn of the event loop, and small ones wait for none', async () => {
    let turn = 0;
    const counting = (): void => {
      turn++;
      timer = setImmediate(counting);
    };
    let timer = setImmediate(counting);
    const turnOf = async (body: Buffer | string, headers: Record<string, string>): Promise<number> => {
      await read(body, headers);
      return turn;
    };
    const packed = Array.from({ length: 16 }, (_, i) => {
      return i % 2 === 0
        ? turnOf(gzipSync('{}'), { 'content-encoding': 'gzip' })
        : turnOf(' '.repeat(70_000) + '{}', {});
    });
    const plain = await turnOf('{}', {});
    const turns = await Promise.all(packed);
    clearImmediate(timer);
    expect(new Set(turns).size).toBe(16);
    expect(plain).toBeLessThanOrEqual(Math.min(...turns));
  });

  it('looks into compressed bodies and envelopes', async () => {
    const bad = '{"cpuTimeNanos":9007199254740993}';
    await expect(read(gzipSync(bad), { 'content-encoding': 'gzip' })).rejects.toThrow(/beyond 2\^53/);
    const inEnvelope = { 'content-type': 'application/grpc+json', 'grpc-encoding': 'gzip' };
    await expect(read(envelope(bad), inEnvelope)).rejects.toThrow(/beyond 2\^53/);
    await expect(read(envelope(gzipSync(bad), 1), inEnvelope)).rejects.toThrow(/beyond 2\^53/);
    const good = envelope('{"cpuTimeNanos":"9007199254740993"}');
    expect(await read(good, inEnvelope)).toBe(good.toString('latin1'));
  });

  it('never unpacks more than the bound, and never more than one message', async () => {
    const [spaces, inEnvelope] = [Buffer.alloc(500_000, 0x20), { 'content-type': 'application/grpc+json' }];
    for (const [encoding, bomb] of [
      ['gzip', gzipSync(spaces)],
      ['br', brotliCompressSync(spaces)],
    ] as const) {
      expect(bomb.length).toBeLessThan(BYTES_MAX);
      const tooLarge = { code: Code.ResourceExhausted, message: expect.stringMatching(/larger than 1000 bytes once/) };
      await expect(read(bomb, { 'content-encoding': encoding })).rejects.toMatchObject(tooLarge);
      const grpc = { ...inEnvelope, 'grpc-encoding': encoding };
      await expect(read(envelope(bomb, 1), grpc)).rejects.toMatchObject(tooLarge);
    }
    const twice = Buffer.concat([envelope('{}'), envelope(gzipSync(spaces), 1)]);
    const grpc = { ...inEnvelope, 'grpc-encoding': 'gzip' };
    await expect(read(twice, grpc)).rejects.toMatchObject({ code: Code.Unimplemented });
  });

  it('refuses what would decode to too many elements, or too deep', async () => {
    const refused = { code: Code.InvalidArgument, message: expect.stringMatching(/more than (125|63) elements/) };
    const deep = { code: Code.InvalidArgument, message: expect.stringMatching(/deeper than 100/) };
    await expect(read(`{"metrics":[${'{},'.repeat(100)}{}]}`)).rejects.toMatchObject(refused);
    await expect(read('['.repeat(200))).rejects.toMatchObject(deep);
    const many = `{"vmId":"${',['.repeat(200)}"}`;
    expect(await read(many)).toBe(many);

    const binary = { 'content-type': 'application/proto' };
    await expect(read(Buffer.from([0x0a, 0]).toString().repeat(126), binary)).rejects.toMatchObject(refused);
    // Fields that nobody knows, of a window.
    const unknown = Buffer.concat([Buffer.from([0x0a, 254, 3]), Buffer.alloc(510, Buffer.from([0x78, 0]))]);
    await expect(read(unknown, binary)).rejects.toMatchObject(refused);
    // A list of numbers, packed into one field: an entry for each byte.
    const packed = (entries: number): Buffer => Buffer.concat([Buffer.from([0x22, entries]), Buffer.alloc(entries, 1)]);
    const count = (entries: number): void => checkBinaryElements(GetCustomerUsageRequestSchema, packed(entries), 100);
    expect(() => count(100)).toThrow('more than 100 elements');
    expect(() => count(99)).not.toThrow();
  });

  it('passes on what is left where part of a message is set aside, however it comes', async () => {
    const [aside, rest] = [Buffer.from([0x0a, 1, 7]), Buffer.from([0x12, 1, 0x69])];
    const body = Buffer.concat([aside, rest]);
    const taken: string[] = [];
    const setAside = (message: Uint8Array) => {
      taken.push(Buffer.from(message).toString('latin1'));
      return rest;
    };
    const grpc = { 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' };
    const binary = { 'content-type': 'application/proto' };
    expect(await read(body, binary, setAside)).toBe(rest.toString('latin1'));
    expect(await read(envelope(body), grpc, setAside)).toBe(envelope(rest).toString('latin1'));
    // What came packed is packed again where the decoder was told so, and never grows back to the whole.
    const packed = await read(gzipSync(body), { ...binary, 'content-encoding': 'gzip' }, setAside);
    expect(gunzipSync(Buffer.from(packed, 'latin1'))).toEqual(rest);
    expect(await read(envelope(gzipSync(body), 1), grpc, setAside)).toBe(envelope(rest).toString('latin1'));
    expect(taken).toEqual(Array.from({ length: 4 }, () => body.toString('latin1')));
    // A text, said to be a number: what is left is looked through as well.
    const wrongType = read(body, binary, () => Buffer.from([0x12, 9]));
    await expect(wrongType).rejects.toMatchObject({ code: Code.InvalidArgument });
    const cutOff = read(envelope(body).subarray(0, 7), grpc, setAside);
    await expect(cutOff).rejects.toMatchObject({
      code: Code.InvalidArgument,
      message: expect.stringMatching(/cut off/),
    });
  });

  it('refuses protobuf that is cut off, alone and in envelopes', async () => {
    const good = Buffer.from([0x0a, 2, 0x0a, 0]);
    const binary = { 'content-type': 'application/proto' };
    expect(await read(good, binary)).toBe(good.toString('latin1'));
    await expect(read(good.subarray(0, 3), binary)).rejects.toThrow(/not a billing.v1.SendMetricsBatchRequest/);
    const grpc = { 'content-type': 'application/grpc+proto' };
    expect(await read(envelope(good), grpc)).toBe(envelope(good).toString('latin1'));
    await expect(read(envelope(good.subarray(0, 3)), grpc)).rejects.toThrow(/not a billing.v1.SendMetricsBatchRequest/);
  });
});
