import { join } from 'node:path';
import { writeFully, type SpoolDisk } from './disk.ts';
import type { Damage, SpoolListener } from './events.ts';

const FOLDER = 'quarantine';
/** A disk that goes bad must not fill itself up with copies: behind this many files, damage is told but not kept. */
const FILES_MAX = 16;

/** Keeps bad bytes for a person to look at, and tells of them. Nothing here is ever read again by the spool. */
export class Quarantine {
  readonly #disk: SpoolDisk;
  readonly #folder: string;
  readonly #onEvent: SpoolListener;
  readonly #names: Set<string>;

  private constructor(disk: SpoolDisk, folder: string, onEvent: SpoolListener, names: Set<string>) {
    this.#disk = disk;
    this.#folder = folder;
    this.#onEvent = onEvent;
    this.#names = names;
  }

  static async open(disk: SpoolDisk, spoolFolder: string, onEvent: SpoolListener): Promise<Quarantine> {
    const folder = join(spoolFolder, FOLDER);
    await disk.makeFolder(folder);
    return new Quarantine(disk, folder, onEvent, new Set(await disk.list(folder)));
  }

  /** Tells of damage and keeps the bytes, once per place; where they cannot be kept, it tells all the same. */
  async report(damage: Omit<Damage, 'copy'>, bytes: Uint8Array): Promise<void> {
    const name = `segment-${damage.segment}-at-${damage.offset}-${damage.reason}`;
    let copy = this.#names.has(name) ? name : undefined;
    if (copy === undefined && bytes.length > 0 && this.#names.size < FILES_MAX) copy = await this.#keep(name, bytes);
    this.#onEvent({ type: 'quarantined', ...damage, copy });
  }

  async #keep(name: string, bytes: Uint8Array): Promise<string | undefined> {
    try {
      const file = await this.#disk.open(join(this.#folder, name), 'create');
      try {
        await writeFully(file, bytes, 0);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#disk.syncFolder(this.#folder);
    } catch (error) {
      this.#onEvent({ type: 'upkeep-failed', what: `keeping ${name} in quarantine`, error });
      return undefined;
    }
    this.#names.add(name);
    return name;
  }
}
