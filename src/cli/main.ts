#!/usr/bin/env node
import { ConnectError } from '@connectrpc/connect';
import { Command, CommanderError } from 'commander';
import { messageOf } from '../lib/failure.ts';
import { auditCommands } from './audit.ts';
import { backupCommand } from './backup.ts';
import { closingCommands } from './closing.ts';
import { conflictCommands } from './conflict.ts';
import { creditNoteCommands } from './credit-note.ts';
import { customerCommands } from './customer.ts';
import { discountCommands } from './discount.ts';
import { gapCommands } from './gap.ts';
import { invoiceCommands } from './invoice.ts';
import { jobCommands } from './job.ts';
import { keyCommands } from './key.ts';
import { ledgerCommands } from './ledger.ts';
import { paymentCommands } from './payment.ts';
import { planCommands } from './plan.ts';
import { rateCommands } from './rate.ts';
import { refusedCommands } from './refused.ts';
import { secretCommands } from './secret.ts';
import { sellerCommands } from './seller.ts';
import { BadUsage, type GlobalOptions, Session } from './session.ts';
import { subscriptionCommands } from './subscription.ts';

/**
 * `meterd GROUP COMMAND …`: every operation of a running meterd. Ends with 0 where it was done, with 1 where it was not, with
 * 2 where the command line is wrong.
 */
const GROUPS = [
  customerCommands,
  planCommands,
  subscriptionCommands,
  discountCommands,
  rateCommands,
  sellerCommands,
  invoiceCommands,
  creditNoteCommands,
  paymentCommands,
  conflictCommands,
  refusedCommands,
  gapCommands,
  closingCommands,
  jobCommands,
  keyCommands,
  secretCommands,
  auditCommands,
  ledgerCommands,
  backupCommand,
];

function build(): Command {
  const program = new Command('meterd')
    .description('Operates a running meterd: at METERD_URL, with the API key METERD_KEY or the one in METERD_KEY_FILE.')
    .option('--json', 'answer in JSON')
    .option('--yes', 'do not ask before what cannot be undone')
    // Commands take this over from the program, so it has to be said before they are made.
    .exitOverride();
  const session = new Session(process.env, () => program.opts<GlobalOptions>());
  for (const add of GROUPS) add(program, session);
  return program;
}

function exitCodeOf(reason: unknown): number {
  // Help is an error of commander's too, with the code 0; what else it says, it has written already.
  if (reason instanceof CommanderError) return reason.exitCode === 0 ? 0 : 2;
  process.stderr.write(`${reason instanceof ConnectError ? reason.rawMessage : messageOf(reason)}\n`);
  return reason instanceof BadUsage ? 2 : 1;
}

try {
  await build().parseAsync();
} catch (reason) {
  process.exitCode = exitCodeOf(reason);
}
