import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { DescMethod } from '@bufbuild/protobuf';
import type { Key, KeyRole } from '../access/key.ts';
import type { PeerCertificate } from '../access/peer-certificate.ts';
import { CallerFault } from '../lib/failure.ts';
import { toConnectError } from './errors.ts';
import { type OpenCall, openCallOf } from './open-call.ts';
import { callersOf } from './roles.ts';

/** What checks a credential: `KnownKeys`. */
export interface Authenticator {
  authenticate(authorization: string | null, certificate: PeerCertificate | undefined): Promise<Key>;
}

const callerKey = createContextKey<Key | undefined>(undefined, { description: 'the key that the call came with' });

/**
 * The gate before every call: it runs once the headers are in, before any of the body is read. Whoever may not call is
 * turned away before the limits: a refused call uses up nobody's rate.
 */
export function authGate(authenticator: Authenticator): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    try {
      const authorization = context.requestHeader.get('authorization');
      const key = await admit(authenticator, context.method, authorization, openCallOf(context.values));
      context.values.set(callerKey, key);
    } catch (reason) {
      throw toConnectError(reason);
    }
  };
}

/**
 * Lets a call in where its caller may make it.
 * @returns the key that it came with; `undefined` where the method is open to everybody
 * @throws CallerFault unauthenticated, permission_denied; NotNow where the caller is over a limit
 */
export async function admit(
  authenticator: Authenticator,
  method: DescMethod,
  authorization: string | null,
  open: OpenCall,
): Promise<Key | undefined> {
  const allowed = callersOf(method);
  if (allowed === 'public') {
    open.admit({ kind: 'address', id: open.peer.address() });
    return undefined;
  }
  const key = await authenticator.authenticate(authorization, open.peer.certificate());
  checkRole(key, allowed, method);
  open.admit({ kind: 'key', id: key.keyId });
  return key;
}

/** The key that the call came with. */
export function callerOf(context: HandlerContext): Key {
  const key = context.values.get(callerKey);
  if (key === undefined) throw new Error(`${context.method.name} was called past the gate, without a key`);
  return key;
}

/**
 * The customer that a call is about: a customer key's own, whatever the request says.
 * @throws CallerFault permission_denied where the request names another customer than the key's
 */
export function customerInScope(context: HandlerContext, requestedId: string): string {
  const key = callerOf(context);
  const ownId = key.customerIds[0];
  if (key.role !== 'customer') return requestedId;
  if (ownId === undefined) throw new Error(`customer key ${key.keyId} names no customer`);
  if (requestedId !== '' && requestedId !== ownId) {
    throw new CallerFault(
      'permission_denied',
      'customer_id',
      `customer_id: "${requestedId}" is not the customer of key ${key.keyId}`,
    );
  }
  return ownId;
}

function checkRole(key: Key, allowed: readonly KeyRole[], method: DescMethod): void {
  if (allowed.includes(key.role)) return;
  const message = `${method.parent.typeName}/${method.name} needs a key of role ${allowed.join(' or ')}; key ${key.keyId} is of role ${key.role}`;
  throw new CallerFault('permission_denied', 'authorization', message);
}
