import type { DescMethod } from '@bufbuild/protobuf';
import { setTimeout as wait } from 'node:timers/promises';

/** The rig and meterd share the machine: this is for a call that is never answered, not for a slow one. */
const CALL_TIMEOUT_MS = 60_000;
/** A stream that was let in and tells nothing for so long has nothing to tell. */
const SILENCE_MS = 1000;
/** Of an envelope of a stream: it is the last, and tells how the call ended. */
const END_FLAG = 2;

/** What a call was answered. */
export interface JsonAnswer {
  /** Whether it was let in: of a stream, that it did not begin with its end. */
  readonly isTaken: boolean;
  readonly text: string;
}

/**
 * Makes a call with Connect's protocol in JSON. Of a stream it waits for the first message.
 * @throws what `fetch` throws
 */
export async function jsonCall(url: string, method: DescMethod, key: string, request: object): Promise<JsonAnswer> {
  const json = JSON.stringify(request);
  const isStream = method.methodKind !== 'unary';
  const over = new AbortController();
  const timeout = setTimeout(() => over.abort(new Error(`${method.name} was not answered in time`)), CALL_TIMEOUT_MS);
  try {
    const response = await fetch(`${url}/${method.parent.typeName}/${method.name}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': isStream ? 'application/connect+json' : 'application/json',
      },
      body: isStream ? enveloped(json) : json,
      signal: over.signal,
    });
    if (!isStream) return { isTaken: response.status === 200, text: await response.text() };
    return await firstOf(response);
  } finally {
    clearTimeout(timeout);
  }
}

function enveloped(json: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(json), 1);
  return Buffer.concat([head, Buffer.from(json)]);
}

async function firstOf(response: Response): Promise<JsonAnswer> {
  if (response.body === null) return { isTaken: false, text: '' };
  const reader = response.body.getReader();
  const silence = new AbortController();
  const first = await Promise.race([
    reader.read().then(({ value }) => Buffer.from(value ?? [])),
    wait(SILENCE_MS, Buffer.alloc(0), { signal: silence.signal }),
  ]);
  silence.abort();
  await reader.cancel();
  return { isTaken: ((first[0] ?? 0) & END_FLAG) === 0, text: first.toString() };
}
