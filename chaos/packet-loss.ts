import { execFileSync } from 'node:child_process';
import { tool } from './tools.ts';

const PERCENT = 5;

/** Loses packets to and from one port of this machine, by nftables. Other ports notice nothing. */
export class PacketLoss {
  readonly #port: number;
  readonly #table: string;
  #isOn = false;

  constructor(port: number) {
    this.#port = port;
    this.#table = `meterd_chaos_${port}`;
  }

  begin(): void {
    const drop = `numgen random mod 100 < ${PERCENT} counter drop`;
    const rules = [`tcp dport ${this.#port} ${drop}`, `tcp sport ${this.#port} ${drop}`];
    const chain = ['chain input {', 'type filter hook input priority 0', ...rules, '}'];
    nft([`table inet ${this.#table} {`, ...chain, '}'].join('\n'));
    this.#isOn = true;
  }

  /** Again is harmless. @returns how many packets were lost, 0 where it had ended */
  end(): number {
    if (!this.#isOn) return 0;
    const listed = nft(`list table inet ${this.#table}`);
    nft(`delete table inet ${this.#table}`);
    this.#isOn = false;
    return [...listed.matchAll(/counter packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
  }
}

function nft(commands: string): string {
  return execFileSync(tool('nft'), ['-f', '-'], { input: `${commands}\n`, encoding: 'utf8' });
}
