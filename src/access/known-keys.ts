import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';
import { CallerFault, NotNow } from '../lib/failure.ts';
import { parseCredential, secretMatches } from './credential.ts';
import type { Key } from './key.ts';
import type { StoredKey } from './key-store.ts';
import { type PeerCertificate, spiffeIdOf } from './peer-certificate.ts';

/** Where keys are read from. */
export interface KeySource {
  active(): Promise<StoredKey[]>;
  find(keyId: string): Promise<StoredKey | undefined>;
  findHost(spiffeId: string): Promise<StoredKey | undefined>;
}

/** A revoked key ends within 60 s on every process: this, and the time that one read may take. */
export const REFRESH_MS = 15_000;
/** How long the last known set stands in where Postgres is away. */
export const KNOWN_MS_MAX = 3_600_000;
/** A key that was not there a moment ago is not asked for again: a flood of made-up keys must not reach Postgres. */
const MISSES_MAX = 10_000;
const MISS_MS = 5_000;
const LOOKUPS_MAX = 16;
/** A credential, and nothing behind it. */
const BEARER = /^bearer (\S+)$/i;

/**
 * Checks credentials against the last known set of keys, so that the ack depends on no database. The set is read anew
 * every 15 seconds; with Postgres away it stands for an hour, then every call is told to come back later.
 */
export class KnownKeys {
  readonly #source: KeySource;
  readonly #clock: Clock;
  readonly #elapsedMs: () => number;
  readonly #misses = new LRUCache<string, true>({ max: MISSES_MAX, ttl: MISS_MS });
  #keys = new Map<string, StoredKey>();
  /** The ids of hosts' keys, by what their certificates say. */
  #hosts = new Map<string, string>();
  #readAtMs = Number.NEGATIVE_INFINITY;
  #lookups = 0;
  /** How many keys were ended by this process: a read that began before the last of them may bring it back. */
  #ended = 0;

  /** @param elapsedMs a clock that never jumps: one that is set forward must not make the set look old, and refuse everybody */
  constructor(source: KeySource, clock: Clock, elapsedMs: () => number = () => performance.now()) {
    this.#source = source;
    this.#clock = clock;
    this.#elapsedMs = elapsedMs;
  }

  /** Reads the set anew. @throws what the source throws; the old set then stays */
  async refresh(): Promise<void> {
    const [atMs, ended] = [this.#elapsedMs(), this.#ended];
    const keys = await this.#source.active();
    if (ended !== this.#ended) return this.refresh();
    this.#keys = new Map();
    this.#hosts = new Map();
    for (const key of keys) this.#add(key);
    this.#readAtMs = atMs;
  }

  #add(key: StoredKey): void {
    this.#keys.set(key.keyId, key);
    if (key.spiffeId !== undefined) this.#hosts.set(key.spiffeId, key.keyId);
  }

  /** Makes a change of this very process count at once. */
  forget(keyId: string): void {
    this.#ended++;
    this.#keys.delete(keyId);
    this.#misses.delete(keyId);
  }

  /**
   * The key that an `Authorization` header carries, or without one the key of the host whose certificate this is.
   * @throws CallerFault unauthenticated; NotNow unavailable where it cannot be told
   */
  async authenticate(authorization: string | null, certificate?: PeerCertificate): Promise<Key> {
    if (authorization === null && certificate !== undefined) return this.#authenticateHost(certificate);
    if (authorization === null) throw unauthenticated('the Authorization header is missing: send "Bearer <key>"');
    const [, text] = BEARER.exec(authorization) ?? [];
    const credential = text === undefined ? undefined : parseCredential(text);
    if (credential === undefined) {
      throw unauthenticated('the Authorization header is not "Bearer meterd_<id>_<secret>"');
    }
    const { keyId } = credential;
    const key = this.#known(keyId) ?? (await this.#lookUp(keyId, () => this.#source.find(keyId)));
    if (key?.secretHash === undefined || !secretMatches(credential.secret, key.secretHash)) {
      throw unauthenticated(`key ${keyId} is not known, was revoked, or has another secret`);
    }
    return key;
  }

  async #authenticateHost(certificate: PeerCertificate): Promise<Key> {
    const spiffeId = spiffeIdOf(certificate, this.#clock.nowMs());
    const known = this.#known(this.#hosts.get(spiffeId) ?? '');
    const key = known ?? (await this.#lookUp(spiffeId, () => this.#source.findHost(spiffeId)));
    if (key !== undefined) return key;
    throw unauthenticated(`no key that works has the SPIFFE id "${spiffeId}" of the client certificate`);
  }

  #known(keyId: string): StoredKey | undefined {
    if (this.#elapsedMs() - this.#readAtMs > KNOWN_MS_MAX) {
      throw new NotNow('unavailable', REFRESH_MS, 'keys could not be read for an hour: credentials cannot be checked');
    }
    return this.#keys.get(keyId);
  }

  /** A key made a moment ago on another process is not in the set yet. */
  async #lookUp(name: string, find: () => Promise<StoredKey | undefined>): Promise<StoredKey | undefined> {
    if (this.#misses.has(name)) return undefined;
    if (this.#lookups >= LOOKUPS_MAX) {
      throw new NotNow('unavailable', 1000, `${LOOKUPS_MAX} unknown keys are being looked up already`);
    }
    this.#lookups++;
    const ended = this.#ended;
    try {
      const key = await find();
      if (key === undefined) this.#misses.set(name, true);
      else if (ended === this.#ended) this.#add(key);
      return key;
    } catch {
      // Why, the log has: the set is read from the same place. Whoever asks here has shown no credential that is known.
      throw new NotNow('unavailable', REFRESH_MS, `key ${name} cannot be looked up now`);
    } finally {
      this.#lookups--;
    }
  }
}

function unauthenticated(message: string): CallerFault {
  return new CallerFault('unauthenticated', 'authorization', message);
}
