import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate and its private key, in PEM, and where they are. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly certPath: string;
  readonly keyPath: string;
}

/** An authority for tests, whose files are in a folder of the test's own. */
export class Authority {
  readonly certificate: Certificate;
  readonly #folder: string;
  #issued = 0;

  constructor(folder: string, name: string) {
    this.#folder = folder;
    this.certificate = issue(folder, name, ['-addext', 'keyUsage=critical,keyCertSign']);
  }

  /** @param names as OpenSSL has them, e.g. `URI:spiffe://cloud.example/host/1,DNS:localhost` */
  issue(names: string, isAuthority = false): Certificate {
    const { certPath, keyPath } = this.certificate;
    const constraints = `basicConstraints=critical,CA:${isAuthority ? 'TRUE' : 'FALSE'}`;
    const signed = ['-CA', certPath, '-CAkey', keyPath, '-addext', constraints];
    const named = names === '' ? [] : ['-addext', `subjectAltName=${names}`];
    return issue(this.#folder, `${this.certificateName}-${this.#issued++}`, [...signed, ...named]);
  }

  get certificateName(): string {
    return this.certificate.certPath.replace(/^.*\/|\.pem$/g, '');
  }
}

function issue(folder: string, name: string, more: readonly string[]): Certificate {
  const [certPath, keyPath] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-subj', `/CN=${name}`];
  const out = ['-days', '2', '-out', certPath, '-keyout', keyPath];
  execFileSync('openssl', ['req', '-x509', ...fresh, ...out, ...more], { stdio: 'pipe' });
  return { cert: readFileSync(certPath, 'utf8'), key: readFileSync(keyPath, 'utf8'), certPath, keyPath };
}
