import { TLSSocket } from 'node:tls';
import type { PeerCertificate } from '../access/peer-certificate.ts';
import type { NodeRequest } from './node-http.ts';

/** Who is at the other end of a call's connection. */
export interface Peer {
  /** Empty where the connection is gone. */
  address(): string;
  /** `undefined` where the client showed none. */
  certificate(): PeerCertificate | undefined;
}

export function peerOf(request: NodeRequest): Peer {
  return {
    address: () => request.socket.remoteAddress ?? '',
    certificate: () => certificateOf(request),
  };
}

/** Read once a connection: taking a certificate apart costs more than checking a key. */
const read = new WeakMap<object, PeerCertificate>();

function certificateOf(request: NodeRequest): PeerCertificate | undefined {
  const connection = 'stream' in request ? request.stream.session : request.socket;
  // Over HTTP/2 the session stands before its socket, and stays the same object for all calls.
  const socket = connection !== undefined && 'socket' in connection ? connection.socket : connection;
  if (connection === undefined || !(socket instanceof TLSSocket)) return undefined;
  const known = read.get(connection);
  if (known !== undefined) return known;
  const shown = socket.getPeerX509Certificate();
  if (shown === undefined) return undefined;
  const certificate = {
    subjectAltName: shown.subjectAltName ?? '',
    isAuthority: shown.ca,
    validToMs: shown.validToDate.getTime(),
    distrust: socket.authorized ? undefined : String(socket.authorizationError),
  };
  read.set(connection, certificate);
  return certificate;
}
