import { constants, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { messageOf } from '../lib/failure.ts';

/** Where a certificate and what belongs to it are; each in PEM. */
export interface TlsFiles {
  /** With the certificates between it and its authority. */
  readonly certPath: string;
  readonly keyPath: string;
  /** The authorities that hosts' certificates lead to; `undefined`: hosts show none. */
  readonly clientCaPath: string | undefined;
}

/** What a connection is secured with. */
export interface TlsMaterial {
  readonly context: SecureContextOptions;
  readonly asksForCertificates: boolean;
  /** Of all files together: tells whether one has changed. */
  readonly hash: string;
}

/** @throws Error where a file cannot be read, or the files do not fit together */
export async function readTlsFiles({ certPath, keyPath, clientCaPath }: TlsFiles): Promise<TlsMaterial> {
  try {
    const [cert, key] = await Promise.all([readFile(certPath), readFile(keyPath)]);
    const ca = clientCaPath === undefined ? undefined : await readFile(clientCaPath);
    const context: SecureContextOptions = {
      cert,
      key,
      ...(ca === undefined ? {} : { ca }),
      minVersion: 'TLSv1.3',
      // A resumed connection would not be checked against the authorities of now.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
    createSecureContext(context);
    const hash = createHash('sha256');
    for (const each of [cert, key, ca ?? '']) hash.update(each).update('\0');
    return { context, asksForCertificates: ca !== undefined, hash: hash.digest('hex') };
  } catch (cause) {
    const files = [certPath, keyPath, ...(clientCaPath === undefined ? [] : [clientCaPath])].join(', ');
    throw new Error(`TLS cannot be served with ${files}: ${messageOf(cause)}`, { cause });
  }
}
