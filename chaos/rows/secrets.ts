import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Client } from 'pg';
import type { Random } from '../../bench/generator/random.ts';
import { clientOf } from '../../demo/clients.ts';
import { type MeterdProcess, startMeterd, stopMeterd } from '../../demo/meterd-process.ts';
import { CustomerService } from '../../gen/billing/v1/customers_pb.ts';
import { SecretService } from '../../gen/billing/v1/secrets_pb.ts';
import { NotAuthentic } from '../../src/access/secrets/aead.ts';
import { LocalKeys, SECRET_KEYS_FILE } from '../../src/access/secrets/local-keys.ts';
import { SecretStore } from '../../src/access/secrets/secret-store.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { connectPostgres } from '../../src/storage/postgres/client.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { NO_JOBS, type Site } from '../site.ts';
import { unless } from '../unless.ts';

/** Each value starts with it, so that looking for one text finds them all. 24 bytes are 32 characters of base64. */
const CANARY = 'canary-b7Xq92LmTzR4vKp0-';
/** In a customer's name, which is stored in the clear: a search that does not find it would find nothing else either. */
const CONTROL = 'control-b7Xq92LmTzR4vKp0';
const CUSTOMERS = ['', 'acme', 'other'];
const NAMES = 10;
const ROTATE_EVERY = 20;
const READERS = 2;
const READ_PAUSE_MS = 2;
const CHUNK_BYTES = 8 * 1024 * 1024;

export const secrets: Row = {
  name: 'secrets',
  promise:
    'Values of secrets are in no file and no log, what was moved or changed does not open, and a rotation fails nobody who reads or puts.',
  trials: { full: 10_000, quick: 200 },
  tools: [],
  async run(context: Context): Promise<Finding> {
    const site = await context.ownSite();
    const logPath = join(context.folder, 'meterd.log');
    const log = await open(logPath, 'w');
    context.onClose(() => log.close());
    const meterd = await startMeterd(site.dataDir, environmentOf(site), log.fd);
    context.onClose(() => stopMeterd(meterd));
    const vault = await Vault.open(site, context.onClose);
    const customers = clientOf(CustomerService, meterd.url, meterd.adminKey);
    for (const customerId of CUSTOMERS.slice(1)) {
      await customers.createCustomer({ customerId, name: CONTROL, currency: 'USD' });
    }
    const counts = { puts: 0, rotations: 0, rewrapped: 0, swaps: 0, accepted: 0, failed: 0, reads: 0 };
    const wrong: string[] = [];
    const failed = (what: string, reason: unknown): void => {
      counts.failed++;
      wrong.push(`${what}: ${String(reason)}`);
    };
    const reading = new AbortController();
    const readers = Array.from({ length: READERS }, () => vault.readUntil(reading.signal, counts, failed));
    const admin = clientOf(SecretService, meterd.url, meterd.adminKey);
    let rotating: Promise<void> = Promise.resolve();
    while (counts.puts < context.trials) {
      const { customerId, name, value } = vault.next(context.random);
      await admin.putSecret({ customerId, name, value: Buffer.from(value) }).catch((e: unknown) => failed('put', e));
      if (++counts.puts % ROTATE_EVERY !== 0) continue;
      await rotating;
      await sendGarbled(meterd, value);
      const [swaps, accepted] = await vault.swap(context.random);
      counts.swaps += swaps;
      counts.accepted += accepted;
      rotating = admin.rotateSecrets({ newKey: counts.rotations++ % 5 === 0 }).then(
        (answer) => void (counts.rewrapped += Number(answer.rewrapped)),
        (reason: unknown) => failed('rotation', reason),
      );
    }
    await rotating;
    reading.abort();
    await Promise.all(readers);
    await vault.flush();
    const found = await search([site.engines.folder, site.dataDir, logPath]);
    const { size: logBytes } = await log.stat();
    return {
      observed: { ...counts, ...found, logBytes },
      limit: {
        puts: { atLeast: context.trials },
        swaps: { atLeast: Math.floor(context.trials / ROTATE_EVERY) },
        rewrapped: { atLeast: 1 },
        reads: { atLeast: 1 },
        controls: { atLeast: 1 },
        logBytes: { atLeast: 1 },
        accepted: NONE,
        failed: NONE,
        canaries: NONE,
      },
      wrong: wrong.slice(0, 10),
    };
  },
};

function environmentOf(site: Site): Record<string, string> {
  return {
    METERD_LISTEN: '127.0.0.1:0',
    METERD_LOG_LEVEL: 'trace',
    CLICKHOUSE_URL: site.clickhouseUrl,
    DATABASE_URL: site.databaseUrl,
    ...NO_JOBS,
  };
}

/** Calls that are refused, each with a value in it: what refuses them must not repeat it where it is kept. */
async function sendGarbled({ url, adminKey }: MeterdProcess, value: string): Promise<void> {
  const base64 = Buffer.from(value).toString('base64');
  const bodies = [
    `{"name":"n","value":"${value}"}`,
    `{"name":"","value":"${base64}"}`,
    `{"name":"n","value":"${base64}`,
  ];
  for (const body of bodies) {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${adminKey}` };
    const response = await fetch(`${url}/billing.v1.SecretService/PutSecret`, { method: 'POST', headers, body });
    await response.arrayBuffer();
  }
}

/** What acts in meterd's name, beside it: reads what it stored, and what somebody with PostgreSQL in hand made of it. */
class Vault {
  readonly #store: SecretStore;
  readonly #db: Client;
  /** Every value that was given out for a secret: while it is put anew a reader may see either. */
  readonly #given = new Map<string, string[]>();
  #swapping = false;
  #swaps = 0;
  #count = 0;

  private constructor(store: SecretStore, db: Client) {
    this.#store = store;
    this.#db = db;
  }

  static async open(site: Site, onClose: Context['onClose']): Promise<Vault> {
    const postgres = connectPostgres(site.databaseUrl);
    onClose(() => postgres.close());
    const db = new Client({ connectionString: site.databaseUrl });
    await db.connect();
    onClose(() => db.end());
    const keys = await LocalKeys.open(join(site.dataDir, SECRET_KEYS_FILE), async () => false);
    return new Vault(new SecretStore(postgres.db, keys, systemClock), db);
  }

  next(random: Random): { customerId: string; name: string; value: string } {
    const [customerId, name] = [random.pick(CUSTOMERS), `n${random.below(NAMES)}`];
    const value = `${CANARY}${this.#count++}`;
    const id = JSON.stringify({ customerId, name });
    this.#given.set(id, [...(this.#given.get(id) ?? []), value]);
    return { customerId, name, value };
  }

  async readUntil(
    signal: AbortSignal,
    counts: { reads: number },
    failed: (what: string, reason: unknown) => void,
  ): Promise<void> {
    for (let at = 0; !signal.aborted; at++) {
      // With a pause: the readers share their processor with what they watch.
      await wait(READ_PAUSE_MS);
      const ids = [...this.#given.keys()];
      const id = ids[at % Math.max(ids.length, 1)];
      // The first put of a secret may still be under way, and swapped ones must not open.
      if (id === undefined || this.#swapping || (this.#given.get(id) ?? []).length < 2) continue;
      const swaps = this.#swaps;
      try {
        const value = (await this.#store.read(JSON.parse(id))).toString();
        if (swaps === this.#swaps && !(this.#given.get(id) ?? []).includes(value))
          failed('read', `${id} has another's value`);
        counts.reads++;
      } catch (reason) {
        // A swap that came in between is what it is meant to fail at.
        if (swaps === this.#swaps) failed('read', reason);
      }
    }
  }

  /** Puts one secret's parts into another's place and reads that. @returns how often, and how often it opened */
  async swap(random: Random): Promise<[number, number]> {
    this.#swapping = true;
    this.#swaps++;
    const { rows } = await this.#db.query<Stored>('SELECT * FROM secrets');
    const [from, to] = [random.pick(rows), random.pick(rows)];
    let [tried, accepted] = [0, 0];
    const id = { customerId: to.customer_id, name: to.name };
    for (const parts of from === to ? [] : partsOf(from, random)) {
      await this.#write({ ...to, ...parts });
      tried++;
      await this.#store.read(id).then(
        () => accepted++,
        (reason: unknown) => {
          if (!(reason instanceof NotAuthentic)) throw reason;
        },
      );
      await this.#write(to);
    }
    this.#swapping = false;
    return [tried, accepted];
  }

  /** So that what PostgreSQL holds in memory is in its files. */
  async flush(): Promise<void> {
    await this.#db.query('CHECKPOINT');
  }

  async #write({ customer_id, name, ciphertext, wrapped_key, wrapping_key_id }: Stored): Promise<void> {
    await this.#db.query(
      'UPDATE secrets SET ciphertext = $3, wrapped_key = $4, wrapping_key_id = $5 WHERE customer_id = $1 AND name = $2',
      [customer_id, name, ciphertext, wrapped_key, wrapping_key_id],
    );
  }
}

interface Stored {
  readonly customer_id: string;
  readonly name: string;
  readonly ciphertext: Buffer;
  readonly wrapped_key: Buffer;
  readonly wrapping_key_id: string;
}

/** Each way to make a secret of another: its text, its key, both, and a bit of it changed. */
function partsOf({ ciphertext, wrapped_key, wrapping_key_id }: Stored, random: Random): Partial<Stored>[] {
  const key = { wrapped_key, wrapping_key_id };
  const changed = Buffer.from(ciphertext);
  const at = random.below(changed.length);
  changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
  return [{ ciphertext }, key, { ciphertext, ...key }, { ciphertext: changed, ...key }];
}

/** How often canaries and controls are in these files and all below these folders: as they are, in base64, in hexadecimal. */
async function search(
  paths: readonly string[],
): Promise<{ canaries: number; controls: number; searchedBytes: number }> {
  const found = { canaries: 0, controls: 0, searchedBytes: 0 };
  for (const path of (await Promise.all(paths.map(filesBelow))).flat()) {
    await eachChunk(path, (chunk) => {
      found.searchedBytes += chunk.length;
      if (formsOf(CANARY).some((form) => chunk.includes(form))) found.canaries++;
      if (chunk.includes(CONTROL)) found.controls++;
    });
  }
  return found;
}

function formsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  return [text, bytes.toString('base64'), bytes.toString('hex')];
}

/** Engines remove folders and files of theirs at any time: what is gone is not there, and hides nothing that is. */
async function filesBelow(path: string): Promise<string[]> {
  const found = await unless(['ENOENT'], stat(path));
  if (found === undefined) return [];
  if (!found.isDirectory()) return found.isFile() ? [path] : [];
  const names = (await unless(['ENOENT'], readdir(path))) ?? [];
  return (await Promise.all(names.map((name) => filesBelow(join(path, name))))).flat();
}

/** Chunks overlap by more than what is looked for. */
async function eachChunk(path: string, look: (chunk: Buffer) => void): Promise<void> {
  const file = await unless(['ENOENT'], open(path, 'r'));
  if (file === undefined) return;
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES);
    for (let at = 0; ; at += CHUNK_BYTES - 100) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, at);
      look(buffer.subarray(0, bytesRead));
      if (bytesRead < CHUNK_BYTES) return;
    }
  } finally {
    await file.close();
  }
}
