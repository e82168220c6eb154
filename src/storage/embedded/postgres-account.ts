import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { codeOf } from '../../lib/failure.ts';

const run = promisify(execFile);

/** Who PostgreSQL runs as where meterd is root, which PostgreSQL refuses to be: the first of these that exists. */
const ACCOUNT_NAMES = ['postgres', 'nobody'];

/** How a program of PostgreSQL is started. */
export interface PostgresAccount {
  /** Owner of the data, where it has to differ from the user of this process. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** Goes before the program and its arguments. */
  readonly prefix: readonly string[];
}

/**
 * Whom to run PostgreSQL as: the user of this process, and where that is root, the owner of the data that is there already or
 * an unprivileged account of the system.
 * @throws Error as root, where there is no such account or no way to change to it
 */
export async function postgresAccount(dataFolder: string): Promise<PostgresAccount> {
  if (process.getuid?.() !== 0) return { owner: undefined, prefix: [] };
  const owner = (await ownerOf(dataFolder)) ?? (await systemAccount());
  // The programs and the data may lie below a folder that only root may enter. The capability to pass it is kept through
  // the change of user; `no_setuid_fixup` is for access(2), with which PostgreSQL looks for its own programs and which
  // would otherwise leave the capability out of account.
  const args = [
    `--reuid=${owner.uid}`,
    `--regid=${owner.gid}`,
    '--clear-groups',
    '--inh-caps=+dac_override',
    '--ambient-caps=+dac_override',
    '--securebits=+no_setuid_fixup',
    '--',
  ];
  try {
    await run('setpriv', [...args, 'true']);
  } catch (cause) {
    throw new Error(
      `PostgreSQL does not run as root, and setpriv cannot change to user ${owner.uid}: ` +
        'start meterd as another user, or set DATABASE_URL',
      { cause },
    );
  }
  return { owner, prefix: ['setpriv', ...args] };
}

async function ownerOf(folder: string): Promise<{ uid: number; gid: number } | undefined> {
  const found = await stat(folder).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  return found === undefined || found.uid === 0 ? undefined : { uid: found.uid, gid: found.gid };
}

async function systemAccount(): Promise<{ uid: number; gid: number }> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ACCOUNT_NAMES) {
    const line = lines.find((fields) => fields[0] === name);
    if (line !== undefined) return { uid: Number(line[2]), gid: Number(line[3]) };
  }
  throw new Error(`PostgreSQL does not run as root, and there is no user ${ACCOUNT_NAMES.join(' or ')} to run it as`);
}
