import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FleetSpec } from '../generator/fleet.ts';
import type { Tally } from '../generator/tally.ts';
import type { LoadCommand, LoadReply, LoadTarget, RunRequest, RunResult } from './messages.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

/** The load generator, seen from the process that started it. */
export class LoadProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts it, connects it and encodes what it will send. */
  static async start(target: LoadTarget, fleets: readonly FleetSpec[]): Promise<LoadProcess> {
    const load = new LoadProcess(fork(MAIN, { serialization: 'advanced' }));
    await load.#ask({ do: 'prepare', target, fleets });
    return load;
  }

  /** @throws Error where a window was not taken, or the service went away */
  async run(run: RunRequest): Promise<RunResult> {
    const reply = await this.#ask({ do: 'run', run });
    if (reply.done !== 'run') throw new Error(`the load generator answered "${reply.done}"`);
    return reply.result;
  }

  /** Exact totals of everything that was acknowledged so far. */
  async tally(): Promise<Tally> {
    const reply = await this.#ask({ do: 'tally' });
    if (reply.done !== 'tally') throw new Error(`the load generator answered "${reply.done}"`);
    return reply.tally;
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  #ask(command: LoadCommand): Promise<LoadReply> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null): void => reject(new Error(`the load generator left with ${code}`));
      this.#child.once('exit', onExit);
      this.#child.once('message', (reply: LoadReply) => {
        this.#child.off('exit', onExit);
        if (reply.done === 'failed') reject(new Error(reply.message));
        else resolve(reply);
      });
      this.#child.send(command);
    });
  }
}
