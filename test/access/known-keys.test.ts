import { describe, expect, it } from 'vitest';
import { formatCredential, hashSecret, newCredential, parseCredential } from '../../src/access/credential.ts';
import type { StoredKey } from '../../src/access/key-store.ts';
import { KNOWN_MS_MAX, KnownKeys } from '../../src/access/known-keys.ts';

const credential = newCredential();
const stored: StoredKey = {
  keyId: credential.keyId,
  name: 'host',
  role: 'collector',
  regions: ['*'],
  customerIds: [],
  backfill: false,
  billagedCounters: undefined,
  spiffeId: undefined,
  createdAt: new Date(0),
  revokedAt: undefined,
  secretHash: hashSecret(credential.secret),
};
const bearer = `Bearer ${formatCredential(credential)}`;

/** A set of keys that a test can change, and take away. */
function keysIn(keys: StoredKey[]) {
  const state = { keys, away: false, finds: 0, nowMs: 1_000_000 };
  const source = {
    active: async () => {
      if (state.away) throw new Error('away');
      return state.keys;
    },
    find: async (keyId: string) => {
      state.finds++;
      if (state.away) throw new Error('away');
      return state.keys.find((key) => key.keyId === keyId);
    },
  };
  const findHost = async (spiffeId: string) => {
    state.finds++;
    if (state.away) throw new Error('away');
    return state.keys.find((key) => key.spiffeId === spiffeId);
  };
  const clock = { nowMs: () => state.nowMs, nowNanos: () => BigInt(state.nowMs) * 1_000_000n };
  return { state, known: new KnownKeys({ ...source, findHost }, clock, clock.nowMs) };
}

describe('credentials', () => {
  it('are read back as they were written, and nothing else is', () => {
    expect(parseCredential(formatCredential(credential))).toEqual(credential);
    for (const text of [
      '',
      'meterd_',
      `${formatCredential(credential)}0`,
      formatCredential(credential).toUpperCase(),
    ]) {
      expect(parseCredential(text)).toBeUndefined();
    }
  });
});

describe('KnownKeys', () => {
  it('takes a known key, and refuses every other', async () => {
    const { known } = keysIn([stored]);
    await known.refresh();
    expect((await known.authenticate(bearer)).keyId).toBe(credential.keyId);
    const wrongSecret = formatCredential({ ...credential, secret: newCredential().secret });
    const others = [null, '', 'Basic x', 'Bearer', 'Bearer nonsense', `Bearer ${wrongSecret}`, `${bearer} x`];
    others.push(`Bearer ${formatCredential(newCredential())}`);
    for (const other of others) {
      await expect(known.authenticate(other), String(other)).rejects.toMatchObject({ kind: 'unauthenticated' });
    }
  });

  it('drops a revoked key with the next refresh', async () => {
    const { known, state } = keysIn([stored]);
    await known.refresh();
    state.keys = [];
    await known.refresh();
    await expect(known.authenticate(bearer)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  it('drops a key that is revoked while the set is read, or the key itself', async () => {
    const { known, state } = keysIn([stored]);
    const refreshing = known.refresh();
    state.keys = [];
    known.forget(credential.keyId);
    await refreshing;
    await expect(known.authenticate(bearer)).rejects.toMatchObject({ kind: 'unauthenticated' });

    const late = keysIn([]);
    await late.known.refresh();
    late.state.keys = [stored];
    const looking = late.known.authenticate(bearer);
    late.state.keys = [];
    late.known.forget(credential.keyId);
    await looking;
    await expect(late.known.authenticate(bearer)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  it('finds a key that was made after the last refresh', async () => {
    const { known, state } = keysIn([]);
    await known.refresh();
    state.keys = [stored];
    expect((await known.authenticate(bearer)).keyId).toBe(credential.keyId);
  });

  it('asks for sixteen unknown keys at once, and for no more', async () => {
    const { known, state } = keysIn([]);
    await known.refresh();
    const unknown = Array.from({ length: 20 }, () => `Bearer ${formatCredential(newCredential())}`);
    const kinds = unknown.map((each) => known.authenticate(each).catch(({ kind }: { kind: string }) => kind));
    const [asked, notAsked] = [Array(16).fill('unauthenticated'), Array(4).fill('unavailable')];
    expect(await Promise.all(kinds)).toEqual([...asked, ...notAsked]);
    expect(state.finds).toBe(16);
  });

  it('asks once for a key that is not there', async () => {
    const { known, state } = keysIn([]);
    await known.refresh();
    for (let i = 0; i < 5; i++) await expect(known.authenticate(bearer)).rejects.toThrow();
    expect(state.finds).toBe(1);
  });

  it('goes by the last known set for an hour while Postgres is away, then says not now', async () => {
    const { known, state } = keysIn([stored]);
    await known.refresh();
    state.away = true;
    await expect(known.refresh()).rejects.toThrow('away');
    state.nowMs += KNOWN_MS_MAX;
    expect((await known.authenticate(bearer)).keyId).toBe(credential.keyId);
    // Of a key that is not in the set nobody can tell now: that is no refusal.
    const unknown = `Bearer ${formatCredential(newCredential())}`;
    const refused = await known.authenticate(unknown).catch((reason: unknown) => reason);
    expect(refused).toMatchObject({ kind: 'unavailable', message: expect.not.stringContaining('away') });
    state.nowMs += 1;
    await expect(known.authenticate(bearer)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('takes a host by its certificate until its key is revoked, and by no secret', async () => {
    const spiffeId = 'spiffe://cloud.example/host/1';
    const { known, state } = keysIn([{ ...stored, spiffeId, secretHash: undefined }]);
    await known.refresh();
    const names = { subjectAltName: `URI:${spiffeId}`, isAuthority: false, distrust: undefined };
    const certificate = { ...names, validToMs: state.nowMs + 1 };
    expect((await known.authenticate(null, certificate)).keyId).toBe(credential.keyId);
    await expect(known.authenticate(bearer, certificate)).rejects.toMatchObject({ kind: 'unauthenticated' });
    const other = { ...certificate, subjectAltName: `URI:${spiffeId}0` };
    await expect(known.authenticate(null, other)).rejects.toMatchObject({ kind: 'unauthenticated' });
    state.keys = [];
    await known.refresh();
    await expect(known.authenticate(null, certificate)).rejects.toMatchObject({ kind: 'unauthenticated' });
    expect(state.finds).toBe(2);
    state.nowMs++;
    await expect(known.authenticate(null, certificate)).rejects.toThrow(/ended at/);
  });
});
