import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { retry } from '../src/lib/retry.ts';
import { tool } from './tools.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
/** Half a minute at least: processes that start on a busy machine are late. */
const READY = { attemptsMax: 6000, delayMs: 10, delayMsMax: 10 };

/** Of what a tool said last. */
const SAID_LENGTH_MAX = 1000;

/** Mounts a file system of a size in memory. @returns what unmounts it */
export async function mountMemory(folder: string, sizeMib: number): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true });
  await run(tool('mount'), ['-t', 'tmpfs', '-o', `size=${sizeMib}m,mode=755`, 'tmpfs', folder]);
  return async () => void (await run(tool('umount'), ['-l', folder]));
}

/**
 * A disk whose power can be cut: ext4 on a loop device, on a file that nbdfuse shows, in front of nbdkit with a cache that
 * keeps what is written until a flush. Killing nbdkit loses all that was not flushed, as pulling the plug of a disk does.
 */
export class CuttableDisk {
  /** Where the file system is. */
  readonly mountPoint: string;
  readonly #folder: string;
  #server: ChildProcess | undefined;
  #fuse: ChildProcess | undefined;
  #device: string | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
    this.mountPoint = join(folder, 'mount');
  }

  /** Makes an empty file system. */
  static async make(folder: string, sizeMib: number): Promise<CuttableDisk> {
    const disk = new CuttableDisk(folder);
    await mkdir(disk.mountPoint, { recursive: true });
    await mkdir(disk.#path('fuse'), { recursive: true });
    await run('truncate', ['-s', String(sizeMib * MIB), disk.#path('image')]);
    await run(tool('mkfs.ext4'), ['-q', '-F', disk.#path('image')]);
    return disk;
  }

  /** Gives it power: from here on the file system is there. */
  async powerOn(): Promise<void> {
    const [socket, ready, shown] = [this.#path('socket'), this.#path('ready'), this.#path('fuse/disk')];
    await Promise.all([socket, ready].map((file) => rm(file, { force: true })));
    // Its socket is there before anybody may connect; the file of its process id is written after that.
    const args = ['-f', '-P', ready, '-U', socket, '--filter=cache', 'file', this.#path('image'), 'cache=writeback'];
    this.#server = await startedTool('nbdkit', args, ready);
    this.#fuse = await startedTool('nbdfuse', [shown, '--unix', socket], shown);
    this.#device = (await run(tool('losetup'), ['-f', '--show', shown])).stdout.trim();
    await run(tool('mount'), [this.#device, this.mountPoint]);
  }

  /** What was not flushed is gone from here on, and nothing more is written. */
  async cutPower(): Promise<void> {
    if (this.#server === undefined) return;
    const gone = once(this.#server, 'exit');
    this.#server.kill('SIGKILL');
    await gone;
    this.#server = undefined;
  }

  /** Takes everything down; call it once nobody has a file open there. Not after a cut: what is cached is written. */
  async takeDown(): Promise<void> {
    if (this.#device === undefined) return;
    await run(tool('umount'), [this.mountPoint]);
    await run(tool('losetup'), ['-d', this.#device]);
    this.#device = undefined;
    // Without its server it ends by itself, at the latest with the last request.
    const gone = this.#fuse?.exitCode === null && this.#fuse.signalCode === null ? once(this.#fuse, 'exit') : undefined;
    await this.#unmountFuse();
    await gone;
    const stopped = this.#server === undefined ? undefined : once(this.#server, 'exit');
    this.#server?.kill('SIGTERM');
    await stopped;
    this.#server = undefined;
  }

  /** It unmounts itself where it has ended by itself, maybe at this very moment. @throws Error where it is mounted and stays so */
  async #unmountFuse(): Promise<void> {
    const folder = this.#path('fuse');
    const isMounted = async (): Promise<boolean> =>
      (await readFile('/proc/self/mounts', 'utf8')).includes(` ${folder} `);
    if (!(await isMounted())) return;
    try {
      await run(tool('fusermount3'), ['-u', folder]);
    } catch (reason) {
      if (await isMounted()) throw reason;
    }
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

/** Starts a tool that runs on. @throws Error with what it said, where it ends or `path` is not there in time */
async function startedTool(name: string, args: readonly string[], path: string): Promise<ChildProcess> {
  const child = spawn(tool(name), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => (said = `${said}${bytes.toString()}`.slice(-SAID_LENGTH_MAX)));
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  try {
    await retry(() => stat(path), { ...READY, retryable: () => !hasEnded() });
    return child;
  } catch (cause) {
    child.kill('SIGKILL');
    const end = hasEnded() ? `ended with ${child.signalCode ?? child.exitCode}` : 'runs';
    throw new Error(`${name} ${end}, and ${path} is not there: ${said}`, { cause });
  }
}
