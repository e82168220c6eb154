/**
 * The load generator: a process of its own, so that its work is not counted as the service's and neither waits for the
 * other's event loop. It is told what to do over the channel of `fork`, one command at a time, and leaves when the
 * channel closes.
 */
import { Generator } from '../generator/generator.ts';
import type { Tally } from '../generator/tally.ts';
import { Caller } from './caller.ts';
import type { LoadCommand, LoadReply } from './messages.ts';
import { run } from './run.ts';
import { Sender } from './sender.ts';

const tally: Tally = new Map();
let caller: Caller | undefined;
let senders: readonly Sender[] = [];

async function obey(command: LoadCommand): Promise<LoadReply> {
  if (command.do === 'tally') return { done: 'tally', tally };
  if (command.do === 'prepare') {
    const { url, key, connections } = command.target;
    const generators = command.fleets.map((spec) => Generator.ofRequests(spec));
    for (const generator of generators) generator.warm();
    const connected = await Caller.connect(url, key, connections);
    caller = connected;
    senders = generators.map((generator) => new Sender(generator, connected, tally));
    return { done: 'prepare' };
  }
  if (caller === undefined) throw new Error('nothing is prepared');
  return { done: 'run', result: await run(command.run, senders[command.run.fleet], caller) };
}

process.on('message', (command: LoadCommand) => {
  obey(command).then(
    (reply) => process.send?.(reply),
    (reason: unknown) => process.send?.({ done: 'failed', message: String(reason) } satisfies LoadReply),
  );
});
process.once('disconnect', () => process.exit());
// Both belong to whoever started this process, which closes the channel when it is done.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
