import type { Row } from './row.ts';
import { audit } from './rows/audit.ts';
import { auth } from './rows/auth.ts';
import { bombs } from './rows/bombs.ts';
import { clickhouse } from './rows/clickhouse.ts';
import { clock } from './rows/clock.ts';
import { conflict } from './rows/conflict.ts';
import { corrupt } from './rows/corrupt.ts';
import { diskFull } from './rows/disk-full.ts';
import { duplicates } from './rows/duplicates.ts';
import { frames } from './rows/frames.ts';
import { fuzz } from './rows/fuzz.ts';
import { ioError } from './rows/io-error.ts';
import { kill } from './rows/kill.ts';
import { model } from './rows/model.ts';
import { network } from './rows/network.ts';
import { planted } from './rows/planted.ts';
import { postgres } from './rows/postgres.ts';
import { power } from './rows/power.ts';
import { secrets } from './rows/secrets.ts';
import { slow } from './rows/slow.ts';
import { soak } from './rows/soak.ts';
import { stop } from './rows/stop.ts';
import { tenants } from './rows/tenants.ts';

/** In the order in which they run: a row stands on what those before it try. */
export const ROWS: readonly Row[] = [
  model,
  corrupt,
  conflict,
  kill,
  stop,
  duplicates,
  clickhouse,
  ioError,
  diskFull,
  power,
  postgres,
  clock,
  audit,
  bombs,
  frames,
  slow,
  fuzz,
  network,
  auth,
  tenants,
  secrets,
  soak,
  planted,
];
