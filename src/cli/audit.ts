import type { Command } from 'commander';
import { AuditRecordSchema, AuditService, VerifyAuditResponseSchema } from '../../gen/billing/v1/audit_pb.ts';
import { DoesNotHold, type Session } from './session.ts';
import { shown } from './values.ts';

/** `meterd audit …`: who did what. */
export function auditCommands(program: Command, session: Session): void {
  const group = program.command('audit').description('who did what');
  group
    .command('list')
    .description('newest first')
    .option('--subject <subject>', 'only those about this', '')
    .option('--action <prefix>', 'only those whose action starts with this, e.g. "invoice."', '')
    .action(async ({ subject, action: actionPrefix }: { subject: string; action: string }) => {
      const audit = await session.client(AuditService);
      await session.list({
        schema: AuditRecordSchema,
        ask: (page) => audit.listAuditRecords({ ...page, subject, actionPrefix }),
        rows: (answer) => answer.records,
        columns: {
          Record: (row) => String(row.sequence),
          At: (row) => shown(row.at),
          Actor: (row) => row.actor,
          Action: (row) => row.action,
          Subject: (row) => row.subject,
          Detail: (row) => row.detail,
        },
      });
    });
  group
    .command('verify')
    .description('recompute the chain, and compare it with its head and every anchor')
    .action(async () => {
      const verdict = await (await session.client(AuditService)).verifyAudit({});
      session.show(VerifyAuditResponseSchema, verdict, {
        Intact: (row) => (row.intact ? 'yes' : 'NO'),
        Records: (row) => String(row.records),
        Head: (row) => row.headHash,
        'Broken at': (row) => (row.intact ? '' : String(row.brokenAt)),
        Problem: (row) => row.problem,
      });
      if (!verdict.intact) throw new DoesNotHold('the audit trail is not intact');
    });
}
