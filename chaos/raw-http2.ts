import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { codeOf } from '../src/lib/failure.ts';
import { CUT, unless } from './unless.ts';

/** Types of frames (RFC 9113, section 6). */
export const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, windowUpdate: 8, continuation: 9 } as const;
export const FLAG = { endStream: 1, endHeaders: 4 } as const;

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const HEAD_BYTES = 9;

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A block of headers, each said in full (RFC 7541, section 6.2.2): names and values below 127 bytes, and none indexed. */
export function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(fields).map(([name, value]) => {
    return Buffer.concat([
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);
  });
  return Buffer.concat(parts);
}

/** An HTTP/2 connection that keeps to no rule but the first: its preface is right. */
export class RawHttp2 {
  readonly socket: Socket;
  #closed = false;
  /** What ended it, where that is not its other end. */
  #failure: Error | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('close', () => (this.#closed = true));
    socket.on('error', (reason) => {
      if (!CUT.includes(String(codeOf(reason)))) this.#failure = reason;
    });
    socket.resume();
    socket.write(Buffer.concat([Buffer.from(PREFACE), frame(FRAME.settings, 0, 0)]));
  }

  static async connect(url: string): Promise<RawHttp2> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new RawHttp2(socket);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Resolves once there is room for more, or the other side has closed. @throws Error where the connection failed otherwise */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed || this.socket.write(bytes)) return;
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    this.socket.once('close', onClose);
    await unless([...CUT, 'ABORT_ERR'], once(this.socket, 'drain', { signal: gone.signal }));
    this.socket.off('close', onClose);
  }

  close(): void {
    this.socket.destroy();
  }
}
