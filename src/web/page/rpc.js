/** A call that meterd refused or that did not reach it. */
class CallFailed extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** One unary call over the Connect protocol in JSON. */
export async function call(key, method, request, signal) {
  const response = await fetch(`/billing.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify(request),
    signal,
  });
  const answer = await response.json();
  if (!response.ok) throw new CallFailed(answer.code, answer.message ?? response.statusText);
  return answer;
}

/**
 * One server-streaming call: each message comes in an envelope of a flag byte and a length of four bytes; the last one
 * (flag 2) holds the error, if any.
 */
export async function* stream(key, method, request, signal) {
  const response = await fetch(`/billing.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/connect+json', authorization: `Bearer ${key}` },
    body: envelope(request),
    signal,
  });
  let bytes = new Uint8Array();
  for await (const chunk of response.body) {
    bytes = joined(bytes, chunk);
    while (bytes.length >= 5) {
      const end = 5 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
      if (bytes.length < end) break;
      const message = JSON.parse(new TextDecoder().decode(bytes.subarray(5, end)));
      if (bytes[0] & 2) {
        if (message.error) throw new CallFailed(message.error.code, message.error.message);
        return;
      }
      yield message;
      bytes = bytes.slice(end);
    }
  }
}

function envelope(request) {
  const text = new TextEncoder().encode(JSON.stringify(request));
  const bytes = new Uint8Array(5 + text.length);
  new DataView(bytes.buffer).setUint32(1, text.length);
  bytes.set(text, 5);
  return bytes;
}

function joined(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
