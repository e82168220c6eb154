import type { Kysely } from 'kysely';
import type { CircuitChange } from '../../lib/circuit-breaker.ts';
import { repeat } from '../../lib/repeat.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import type { KeyProvider } from './key-provider.ts';
import { KmsClient } from './kms-client.ts';
import { KmsKeys } from './kms-keys.ts';
import { LocalKeys } from './local-keys.ts';
import { hasSecrets } from './secret-store.ts';

export interface KeysPlace {
  readonly filePath: string;
  /** Of a KMS plugin, which then has the newest key. `undefined`: the file has it. */
  readonly kmsSocketPath: string | undefined;
  /** Must not throw. */
  readonly onKmsCircuit: (change: CircuitChange) => void;
  /** How often a KMS plugin is asked whether it is well; every minute where left out, as Kubernetes does. */
  readonly kmsLookMs?: number;
}

export interface OpenKeys {
  readonly keys: KeyProvider;
  readonly close: () => Promise<void>;
}

const KMS_LOOK_MS = 60_000;

/**
 * Opens the wrapping keys that the configuration names.
 * @throws Error where there are secrets that only a missing file opens, or only a KMS that is not named
 */
export async function openKeys(db: Kysely<Database>, place: KeysPlace): Promise<OpenKeys> {
  const { filePath, kmsSocketPath, onKmsCircuit } = place;
  if (kmsSocketPath === undefined) {
    return { keys: await LocalKeys.open(filePath, () => mayMakeFile(db)), close: async () => undefined };
  }
  const openFile = (): Promise<LocalKeys> => LocalKeys.open(filePath, async () => false);
  if (await hasSecrets(db, 'file')) await openFile();
  // Opened each time: the file may be put there for a secret that another process wrapped with it, and goes once none is left.
  const before: Pick<KeyProvider, 'unwrap'> = {
    unwrap: async (wrapped, binding) => (await openFile()).unwrap(wrapped, binding),
  };
  const kms = new KmsClient({ socketPath: kmsSocketPath, onCircuit: onKmsCircuit });
  // So that one that fails is told of now, and when it does, not when the first secret is needed. Nothing waits for it, since ingest
  // needs no secrets; what it throws was told to `onKmsCircuit`.
  const look = async (): Promise<void> => void (await kms.newestKeyId());
  look().catch(() => undefined);
  const looking = repeat(look, place.kmsLookMs ?? KMS_LOOK_MS, () => undefined);
  const close = async (): Promise<void> => {
    kms.close();
    await looking.stop();
  };
  return { keys: new KmsKeys(kms, before), close };
}

/** A new file would open nothing that is there. */
async function mayMakeFile(db: Kysely<Database>): Promise<boolean> {
  if (await hasSecrets(db, 'kms')) {
    throw new Error('METERD_SECRET_KMS is not set, and there are secrets that only a KMS opens');
  }
  return !(await hasSecrets(db, 'file'));
}
