import { Client } from 'pg';
import type { Random } from '../../bench/generator/random.ts';
import { clientOf } from '../../demo/clients.ts';
import { AuditService } from '../../gen/billing/v1/audit_pb.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { hashOf, NO_HASH } from '../../src/audit/trail.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { runJob } from '../run-job.ts';

const RECORDS = 40;

export const audit: Row = {
  name: 'audit',
  promise:
    'Audit records changed, removed, swapped, inserted, cut off or hashed anew by a superuser of the database: every edit is found.',
  trials: { full: 1_000, quick: 50 },
  tools: [],
  async run(context: Context): Promise<Finding> {
    const site = await context.site();
    const meterd = await site.start();
    const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
    for (let i = 0; i < RECORDS; i++) await keys.createKey({ name: `n${i}`, role: KeyRole.COLLECTOR, regions: ['*'] });
    await runJob(meterd, 'audit-anchor');
    const service = clientOf(AuditService, meterd.url, meterd.adminKey);
    const superuser = new Client({ connectionString: site.databaseUrl });
    await superuser.connect();
    context.onClose(() => superuser.end());
    // What a superuser can do: no trigger runs.
    await superuser.query('SET session_replication_role = replica');
    await superuser.query('CREATE TABLE chaos_records AS TABLE audit_records');
    await superuser.query('CREATE TABLE chaos_head AS TABLE audit_head');
    const counts = { edits: 0, unseen: 0, falseAlarms: 0 };
    const wrong: string[] = [];
    for (; counts.edits < context.trials; counts.edits++) {
      const [name, edit] = context.random.pick(Object.entries(EDITS));
      await superuser.query('BEGIN');
      await edit(superuser, context.random);
      await superuser.query('COMMIT');
      if ((await service.verifyAudit({})).intact) {
        counts.unseen++;
        wrong.push(`edit ${counts.edits}, "${name}", was not found`);
      }
      await restore(superuser);
      if (!(await service.verifyAudit({})).intact) counts.falseAlarms++;
    }
    return {
      observed: { ...counts, kinds: Object.keys(EDITS).length, records: RECORDS },
      limit: { edits: { atLeast: context.trials }, unseen: NONE, falseAlarms: NONE },
      wrong,
    };
  },
};

async function restore(db: Client): Promise<void> {
  await db.query('BEGIN');
  await db.query('DELETE FROM audit_records');
  await db.query('INSERT INTO audit_records SELECT * FROM chaos_records');
  await db.query('DELETE FROM audit_head');
  await db.query('INSERT INTO audit_head SELECT * FROM chaos_head');
  await db.query('COMMIT');
}

type Edit = (db: Client, random: Random) => Promise<unknown>;

/** Each leaves the table other than it was. Numbers are of records that were anchored. */
const EDITS: Readonly<Record<string, Edit>> = {
  changed: (db, random) =>
    db.query(`UPDATE audit_records SET ${random.pick(CHANGES)} WHERE sequence = $1`, [any(random)]),
  removed: (db, random) => db.query('DELETE FROM audit_records WHERE sequence = $1', [any(random)]),
  swapped: async (db, random) => {
    const one = random.between(1, RECORDS - 1);
    await renumber(db, one, 1_000_000);
    await renumber(db, one + 1, one);
    await renumber(db, 1_000_000, one + 1);
  },
  inserted: async (db, random) => {
    const at = any(random);
    await db.query('UPDATE audit_records SET sequence = sequence + 1000000 WHERE sequence >= $1', [at]);
    await db.query('UPDATE audit_records SET sequence = sequence - 999999 WHERE sequence >= 1000000');
    await db.query(
      `INSERT INTO audit_records SELECT $1::bigint, at, actor, 'key.created', 'forged', detail, previous_hash, hash
       FROM audit_records WHERE sequence = $1::bigint + 1`,
      [at],
    );
  },
  'tail cut': (db, random) => db.query('DELETE FROM audit_records WHERE sequence > $1', [any(random)]),
  'tail cut, head and all': async (db, random) => {
    const last = any(random);
    await db.query('DELETE FROM audit_records WHERE sequence > $1', [last]);
    await db.query(
      'UPDATE audit_head h SET sequence = r.sequence, hash = r.hash FROM audit_records r WHERE r.sequence = $1',
      [last],
    );
  },
  'changed and hashed anew': async (db, random) => {
    await db.query(`UPDATE audit_records SET ${random.pick(CHANGES)} WHERE sequence = $1`, [any(random)]);
    await hashAnew(db);
  },
  'removed and hashed anew': async (db, random) => {
    const gone = any(random);
    await db.query('DELETE FROM audit_records WHERE sequence = $1', [gone]);
    await db.query('UPDATE audit_records SET sequence = sequence + 1000000 WHERE sequence > $1', [gone]);
    await db.query('UPDATE audit_records SET sequence = sequence - 1000001 WHERE sequence > 1000000');
    await hashAnew(db);
  },
};

const CHANGES = [
  `actor = actor || 'x'`,
  `action = 'key.revoked'`,
  `subject = subject || 'x'`,
  `detail = detail || ' '`,
  `at = at + interval '1 microsecond'`,
];

function any(random: Random): number {
  return random.between(1, RECORDS);
}

function renumber(db: Client, from: number, to: number): Promise<unknown> {
  return db.query('UPDATE audit_records SET sequence = $2 WHERE sequence = $1', [from, to]);
}

interface RecordRow {
  readonly sequence: string;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly detail: string;
  readonly micros: string;
}

/** The whole chain, from the first record to the head, as somebody would who knows how it is made. */
async function hashAnew(db: Client): Promise<void> {
  const { rows } = await db.query<RecordRow>(
    `SELECT sequence, actor, action, subject, detail, (extract(epoch FROM at) * 1000000)::bigint AS micros
     FROM audit_records ORDER BY sequence`,
  );
  let previous: Buffer = NO_HASH;
  for (const row of rows) {
    const hash = hashOf(previous, { ...row, atMicros: row.micros });
    await db.query('UPDATE audit_records SET previous_hash = $2, hash = $3 WHERE sequence = $1', [
      row.sequence,
      previous,
      hash,
    ]);
    previous = hash;
  }
  await db.query('UPDATE audit_head SET sequence = $1, hash = $2', [rows.at(-1)?.sequence, previous]);
}
