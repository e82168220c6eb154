import type { Command } from 'commander';
import { InvoiceService, type Seller, SellerSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { each } from './values.ts';

interface SellerOptions {
  readonly name: string;
  readonly address: string[];
  readonly country: string;
  readonly taxId: string;
  readonly email: string;
  readonly payment: string[];
}

const COLUMNS: Columns<Seller> = {
  Name: (row) => row.name,
  Address: (row) => row.addressLines.join(', '),
  Country: (row) => row.country,
  'Tax id': (row) => row.taxId,
  'E-mail': (row) => row.email,
  Payment: (row) => row.paymentLines.join(', '),
};

/** `meterd seller …`: who invoices are from. */
export function sellerCommands(program: Command, session: Session): void {
  const group = program.command('seller').description('who invoices are from');
  group
    .command('show')
    .description('as the next invoices will say')
    .action(async () => {
      session.show(SellerSchema, (await (await session.client(InvoiceService)).getSeller({})).seller, COLUMNS);
    });
  group
    .command('put')
    .description('replace it; final invoices keep the seller that they were made with')
    .requiredOption('--name <name>')
    .option('--address <line>', 'may be given several times', each, [])
    .option('--country <code>', 'ISO 3166-1, two letters', '')
    .option('--tax-id <id>', '', '')
    .option('--email <address>', '', '')
    .option('--payment <line>', 'how to pay; may be given several times', each, [])
    .action(async ({ name, address, country, taxId, email, payment }: SellerOptions) => {
      const invoices = await session.client(InvoiceService);
      const seller = { name, addressLines: address, country, taxId, email, paymentLines: payment };
      session.show(SellerSchema, (await invoices.putSeller({ seller })).seller, COLUMNS);
    });
}
