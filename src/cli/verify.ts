import type { Client } from '@connectrpc/connect';
import type { Command } from 'commander';
import {
  InvoiceService,
  InvoiceState,
  type ProofStep,
  type VerifyInvoiceResponse,
  VerifyInvoiceResponseSchema,
} from '../../gen/billing/v1/invoices_pb.ts';
import { Progress } from './progress.ts';
import { BadUsage, DoesNotHold, everyPage, type Session } from './session.ts';
import { type Columns, table } from './table.ts';

const STEPS: Columns<ProofStep> = {
  Step: (row) => row.name,
  Holds: (row) => (row.holds ? 'yes' : 'NO'),
  Compared: (row) => row.detail,
};

/** `meterd invoice verify`: recomputes final invoices from raw windows. Ends with 1 where one is not proved. */
export function verifyCommand(group: Command, session: Session): void {
  group
    .command('verify [invoices...]')
    .description('recompute final invoices from raw windows')
    .option('--period <month>', 'all final invoices of a period')
    .action(async (named: string[], { period }: { period?: string }) => {
      if ((named.length === 0) === (period === undefined)) throw new BadUsage('name invoices or a --period');
      const invoices = await session.client(InvoiceService);
      const wanted = period === undefined ? named : await finalInvoices(invoices, period);
      if (wanted.length === 0)
        throw new DoesNotHold(`there is no final invoice of ${period ?? ''}: nothing was proved`);
      const progress = new Progress('Verifying');
      const unproved: string[] = [];
      for (const [at, invoiceId] of wanted.entries()) {
        const proof = await invoices.verifyInvoice({ invoiceId });
        if (!proof.proved) unproved.push(invoiceId);
        // Of a whole period, only what is not proved is of interest.
        if (period === undefined || !proof.proved) {
          session.show(VerifyInvoiceResponseSchema, proof, (shown) => proofText(invoiceId, shown));
        }
        progress.show(at + 1, wanted.length);
      }
      if (unproved.length > 0) throw new DoesNotHold(`not proved: ${unproved.join(', ')}`);
      process.stderr.write(`proved: ${wanted.length} of ${wanted.length}\n`);
    });
}

async function finalInvoices(invoices: Client<typeof InvoiceService>, period: string): Promise<string[]> {
  const all = await everyPage({
    ask: (page) => invoices.listInvoices({ ...page, period }),
    rows: (answer) => answer.invoices,
  });
  const isFinal = (state: InvoiceState): boolean => state === InvoiceState.FINAL || state === InvoiceState.PAID;
  return all.filter(({ state }) => isFinal(state)).map(({ number }) => number);
}

function proofText(invoiceId: string, { proved, steps }: VerifyInvoiceResponse): string {
  return `${table(STEPS, steps)}${invoiceId} is ${proved ? '' : 'NOT '}proved\n`;
}
