import { resolve } from 'node:path';
import type { Command } from 'commander';
import { type Backup, BackupSchema, BackupService } from '../../gen/billing/v1/backup_pb.ts';
import { Progress } from './progress.ts';
import type { Session } from './session.ts';
import { shown } from './values.ts';

/** `meterd backup FOLDER`: a copy of everything, to restore from. */
export function backupCommand(program: Command, session: Session): void {
  program
    .command('backup <folder>')
    .description('back up both engines into a new folder of the machine that meterd runs on')
    .action(async (folder: string) => {
      const backups = await session.client(BackupService);
      const progress = new Progress('Writing files');
      let made: Backup | undefined;
      for await (const answer of backups.createBackup({ folder: resolve(folder) })) {
        progress.show(answer.filesWritten, answer.files);
        made = answer.backup;
      }
      session.show(BackupSchema, made, {
        Folder: (row) => row.folder,
        Taken: (row) => shown(row.takenAt),
        Rows: (row) => String(row.rows),
        Bytes: (row) => String(row.bytes),
        Manifest: (row) => row.manifestHash,
      });
    });
}
