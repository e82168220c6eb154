import { CallerFault } from '../lib/failure.ts';

/** A client certificate that the other end of a connection has the private key of. */
export interface PeerCertificate {
  /** As Node prints it: `DNS:a.example, URI:spiffe://…`; text with anything odd in it is put in quotes. */
  readonly subjectAltName: string;
  readonly isAuthority: boolean;
  readonly validToMs: number;
  /** Why it is not trusted; `undefined` where it leads to one of our authorities. */
  readonly distrust: string | undefined;
}

const ID_LENGTH_MAX = 2048;
const ID = /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[A-Za-z0-9._-]+)+$/;
const DOTS_ONLY = /\/\.{1,2}(\/|$)/;

/** Whether a text is the id of a workload: https://spiffe.io/docs/latest/spiffe-specs/spiffe-id/. */
export function isSpiffeId(text: string): boolean {
  return text.length <= ID_LENGTH_MAX && ID.test(text) && !DOTS_ONLY.test(text);
}

/**
 * The SPIFFE id that a certificate proves: https://spiffe.io/docs/latest/spiffe-specs/x509-svid/ asks for a leaf with
 * exactly one URI.
 * @throws CallerFault unauthenticated where it proves none
 */
export function spiffeIdOf(certificate: PeerCertificate, nowMs: number): string {
  const { subjectAltName, isAuthority, validToMs, distrust } = certificate;
  if (distrust !== undefined) throw unproved(`is not trusted: ${distrust}`);
  // A connection may outlive the certificate that it began with.
  if (nowMs >= validToMs) throw unproved(`ended at ${new Date(validToMs).toISOString()}`);
  if (isAuthority) throw unproved('is one that signs others, not one of a host');
  // Inside of quotes a name may hold what looks like another one.
  if (subjectAltName.includes('"')) throw unproved('has a name that cannot be read');
  const uris = subjectAltName.split(', ').filter((name) => name.startsWith('URI:'));
  const [id] = uris.map((name) => name.slice('URI:'.length));
  if (uris.length !== 1 || id === undefined) throw unproved(`has ${uris.length} URIs, not exactly one`);
  if (!isSpiffeId(id)) throw unproved('has a URI that is no SPIFFE id');
  return id;
}

function unproved(why: string): CallerFault {
  return new CallerFault('unauthenticated', 'authorization', `the client certificate ${why}`);
}
