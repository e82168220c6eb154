import { Code } from '@connectrpc/connect';
import { expect, it } from 'vitest';
import { toConnectError } from '../../src/rpc/errors.ts';
import { postgresForTest } from '../database.ts';

const { db } = await postgresForTest();

it("a text with U+0000 in a filter is the caller's fault, not meterd's", async () => {
  const asked = db.selectFrom('customers').selectAll().where('id', '=', 'a\0b').execute();
  const reason: unknown = await asked.catch((each: unknown) => each);
  expect(reason).toBeInstanceOf(Error);
  const error = toConnectError(reason);
  expect([error.code, error.rawMessage]).toEqual([Code.InvalidArgument, expect.stringContaining('U+0000')]);
});
