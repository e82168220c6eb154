import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** The Debian package of each command that rows need. */
const PACKAGES: Readonly<Record<string, string>> = {
  faketime: 'faketime',
  fallocate: 'util-linux',
  'fiu-ctrl': 'fiu-utils',
  'fiu-run': 'fiu-utils',
  fusermount3: 'fuse3',
  losetup: 'mount',
  'mkfs.ext4': 'e2fsprogs',
  mount: 'mount',
  nbdfuse: 'libnbd-bin',
  nbdkit: 'nbdkit',
  nft: 'nftables',
  openssl: 'openssl',
  umount: 'mount',
};
/** An ordinary user's path leaves these out. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** What is missing of the commands, each with the package to install. */
export function missingTools(commands: readonly string[]): string[] {
  return commands
    .filter((command) => pathOf(command) === undefined)
    .map((command) => `${command} is not installed (Debian package ${PACKAGES[command] ?? command})`);
}

/** Where a command is. @throws Error where it is nowhere */
export function tool(command: string): string {
  const path = pathOf(command);
  if (path === undefined) throw new Error(`${command} is not installed`);
  return path;
}

function pathOf(command: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
