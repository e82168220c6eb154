/**
 * What Kubernetes' API server takes of a KMS plugin, and meterd with it: whatever is beyond is refused, since it would be stored.
 * https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/envelope.go
 */
const KEY_ID_BYTES_MAX = 1024;
const CIPHERTEXT_BYTES_MAX = 1024;
const ANNOTATIONS_BYTES_MAX = 32 * 1024;
const DOMAIN_BYTES_MAX = 253;
/** Labels of RFC 1123, two at least; a dot may end it. */
const DOMAIN = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?$/;
/** What control characters do to a terminal, and NUL to PostgreSQL, no name of a key is worth. */
const CONTROL_CHARACTER = /\p{Cc}/u;

/** Of an answer to Encrypt, the longest: around an annotation `a.b`, the shortest, protobuf writes 6 bytes and more. */
export const ANSWER_BYTES_MAX = 4 * (KEY_ID_BYTES_MAX + CIPHERTEXT_BYTES_MAX + ANNOTATIONS_BYTES_MAX);

/** What a KMS encrypted. */
export interface KmsCiphertext {
  /** The KMS's own name of its key. */
  readonly keyId: string;
  readonly ciphertext: Uint8Array;
  /** The plugin's, to be given back to it with the ciphertext. */
  readonly annotations: Readonly<Record<string, Uint8Array>>;
}

/** @throws Error where it is none that Kubernetes would take */
export function checkKeyId(keyId: string): void {
  checkSize('key_id', Buffer.byteLength(keyId), KEY_ID_BYTES_MAX);
  if (CONTROL_CHARACTER.test(keyId)) throw new Error('key_id has a control character');
}

/** @throws Error where any part is none that Kubernetes would take */
export function checkCiphertext({ keyId, ciphertext, annotations }: KmsCiphertext): void {
  checkKeyId(keyId);
  checkSize('ciphertext', ciphertext.length, CIPHERTEXT_BYTES_MAX);
  let bytes = 0;
  for (const [name, value] of Object.entries(annotations)) {
    bytes += Buffer.byteLength(name) + value.length;
    if (bytes > ANNOTATIONS_BYTES_MAX) throw new Error(`annotations have more than ${ANNOTATIONS_BYTES_MAX} bytes`);
    if (name.length <= DOMAIN_BYTES_MAX && DOMAIN.test(name)) continue;
    throw new Error(`annotations: ${JSON.stringify(name.slice(0, 100))} is no fully qualified domain name`);
  }
}

function checkSize(field: string, bytes: number, bytesMax: number): void {
  if (bytes === 0) throw new Error(`${field} is empty`);
  if (bytes > bytesMax) throw new Error(`${field} is ${bytes} bytes long, more than ${bytesMax}`);
}
