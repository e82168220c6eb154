import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import {
  DeleteSecretResponseSchema,
  RotateSecretsResponseSchema,
  type Secret,
  SecretSchema,
  SecretService,
} from '../../gen/billing/v1/secrets_pb.ts';
import type { Session } from './session.ts';
import type { Columns } from './table.ts';
import { shown } from './values.ts';

const COLUMNS: Columns<Secret> = {
  Customer: (row) => row.customerId,
  Name: (row) => row.name,
  'Wrapping key': (row) => row.wrappingKeyId,
  Put: (row) => shown(row.putAt),
  By: (row) => row.putBy,
};

/** `meterd secret …`: what meterd needs to act elsewhere. */
export function secretCommands(program: Command, session: Session): void {
  const group = program.command('secret').description('what meterd needs to act elsewhere; no command shows a value');
  group
    .command('put <name>')
    .description('replaces the one of the same name; the value is what the file holds, byte for byte')
    .option('--customer <customer>', "whose it is; meterd's own where left out", '')
    // Never on the command line, which everybody on the machine can read.
    .option('--file <path>', 'standard input where left out')
    .action(async (name: string, { customer, file }: { customer: string; file?: string }) => {
      const value = file === undefined ? await buffer(process.stdin) : await readFile(file);
      const secrets = await session.client(SecretService);
      const { secret } = await secrets.putSecret({ customerId: customer, name, value });
      session.show(SecretSchema, secret, COLUMNS);
    });
  group
    .command('list')
    .description('all secrets, without their values')
    .action(async () => {
      const secrets = await session.client(SecretService);
      await session.list({
        schema: SecretSchema,
        ask: (page) => secrets.listSecrets(page),
        rows: (answer) => answer.secrets,
        columns: COLUMNS,
      });
    });
  group
    .command('delete <name>')
    .option('--customer <customer>', "whose it is; meterd's own where left out", '')
    .action(async (name: string, { customer }: { customer: string }) => {
      await session.confirm(`This deletes the secret "${name}"`);
      const answer = await (await session.client(SecretService)).deleteSecret({ customerId: customer, name });
      session.show(DeleteSecretResponseSchema, answer, () => `${name} is deleted\n`);
    });
  group
    .command('rotate')
    .description('wrap all data keys with the newest wrapping key')
    .option('--new-key', 'make a new wrapping key first')
    .action(async ({ newKey = false }: { newKey?: boolean }) => {
      const answer = await (await session.client(SecretService)).rotateSecrets({ newKey });
      session.show(RotateSecretsResponseSchema, answer, ({ wrappingKeyId, rewrapped, failed }) => {
        const refused = failed.map(({ customerId, name }) => `does not open: ${JSON.stringify([customerId, name])}\n`);
        return `${rewrapped} secrets wrapped anew, all by ${wrappingKeyId}\n${refused.join('')}`;
      });
    });
}
