import type { Command } from 'commander';
import { BalanceSchema, LedgerService, PostingSchema } from '../../gen/billing/v1/ledger_pb.ts';
import type { Session } from './session.ts';
import { shown } from './values.ts';

/** `meterd ledger …`: the books. */
export function ledgerCommands(program: Command, session: Session): void {
  const group = program.command('ledger').description('the books');
  group
    .command('balances')
    .description('debits above 0, credits below')
    .option('--prefix <text>', 'accounts that start with this', '')
    .action(async ({ prefix: accountPrefix }: { prefix: string }) => {
      const ledger = await session.client(LedgerService);
      await session.list({
        schema: BalanceSchema,
        ask: (page) => ledger.getBalances({ ...page, accountPrefix }),
        rows: (answer) => answer.balances,
        columns: { Account: (row) => row.account, Balance: (row) => row.amount, Currency: (row) => row.currency },
      });
    });
  group
    .command('postings')
    .description('newest first')
    .option('--account <account>', '', '')
    .action(async ({ account }: { account: string }) => {
      const ledger = await session.client(LedgerService);
      await session.list({
        schema: PostingSchema,
        ask: (page) => ledger.listPostings({ ...page, account }),
        rows: (answer) => answer.postings,
        columns: {
          At: (row) => shown(row.postedAt),
          Description: (row) => row.description,
          Account: (row) => row.account,
          Amount: (row) => row.amount,
          Currency: (row) => row.currency,
        },
      });
    });
}
