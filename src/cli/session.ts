import { readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { type DescMessage, type DescService, type MessageShape, toJson } from '@bufbuild/protobuf';
import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { type Columns, record, table } from './table.ts';

/** What the command line said for every command. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly yes?: boolean;
}

/** The command line is wrong; the program ends with 2. */
export class BadUsage extends Error {
  override readonly name = 'BadUsage';
}

/** The command was carried out, and what it looked for does not hold; the program ends with 1. */
export class DoesNotHold extends Error {
  override readonly name = 'DoesNotHold';
}

/** A list of messages that comes in pages. */
export interface Listing<D extends DescMessage, R extends { readonly nextPageToken: string }> {
  readonly schema: D;
  readonly ask: (page: { pageSize: number; pageToken: string }) => Promise<R>;
  readonly rows: (answer: R) => readonly MessageShape<D>[];
  readonly columns: Columns<MessageShape<D>>;
}

const PAGE_ROWS = 1000;
/** More is not for a terminal, and would be held in memory as a whole. */
const ROWS_MAX = 100_000;
const DEFAULT_URL = 'http://127.0.0.1:8080';

/** The meterd that commands talk to, and how they answer. */
export class Session {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #options: () => GlobalOptions;

  constructor(environment: Readonly<Record<string, string | undefined>>, options: () => GlobalOptions) {
    this.#environment = environment;
    this.#options = options;
  }

  /** A client of one service. @throws BadUsage where no key is set; the reason why its file cannot be read */
  async client<T extends DescService>(service: T): Promise<Client<T>> {
    const key = await this.#key();
    const authorize: Interceptor = (next) => (request) => {
      request.header.set('authorization', `Bearer ${key}`);
      return next(request);
    };
    const baseUrl = this.#environment['METERD_URL'] || DEFAULT_URL;
    return createClient(service, createConnectTransport({ baseUrl, httpVersion: '1.1', interceptors: [authorize] }));
  }

  /** Asks for every page and shows all rows. @throws as `everyPage` */
  async list<D extends DescMessage, R extends { readonly nextPageToken: string }>(
    listing: Listing<D, R>,
  ): Promise<void> {
    const rows = await everyPage(listing);
    if (this.#options().json === true) this.#json(rows.map((row) => jsonOf(listing.schema, row)));
    else process.stdout.write(rows.length === 0 ? 'none\n' : table(listing.columns, rows));
  }

  /** Shows one message: as JSON, or as `text` says, by default a line for each column. */
  show<D extends DescMessage>(
    schema: D,
    message: MessageShape<D> | undefined,
    text: Columns<MessageShape<D>> | ((message: MessageShape<D>) => string),
  ): void {
    if (message === undefined) throw new Error(`meterd answered without its ${schema.name}`);
    if (this.#options().json === true) this.#json(jsonOf(schema, message));
    else process.stdout.write(typeof text === 'function' ? text(message) : record(text, message));
  }

  /** Writes what was asked for into a file and says so. */
  async save(path: string, content: Uint8Array): Promise<void> {
    await writeFile(path, content);
    if (this.#options().json === true) this.#json({ path, bytes: content.length });
    else process.stdout.write(`${path}: ${content.length} bytes\n`);
  }

  /** Asks before what cannot be undone. @throws BadUsage where nobody can be asked, or the answer is not "yes" */
  async confirm(what: string): Promise<void> {
    if (this.#options().yes === true) return;
    if (!process.stdin.isTTY) throw new BadUsage(`${what}: say --yes where nobody can be asked`);
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const answer = await terminal.question(`${what}. Type "yes" to go on: `);
    terminal.close();
    if (answer.trim() !== 'yes') throw new BadUsage('nothing was done');
  }

  async #key(): Promise<string> {
    const { METERD_KEY: key, METERD_KEY_FILE: path } = this.#environment;
    if (key) return key;
    if (path) return (await readFile(path, 'utf8')).trim();
    throw new BadUsage('set METERD_KEY to an API key, or METERD_KEY_FILE to a file that has one');
  }

  #json(value: unknown): void {
    process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
  }
}

/** Follows pages to the end. @throws Error where there are more than 100,000 rows */
export async function everyPage<T, R extends { readonly nextPageToken: string }>(listing: {
  readonly ask: (page: { pageSize: number; pageToken: string }) => Promise<R>;
  readonly rows: (answer: R) => readonly T[];
}): Promise<T[]> {
  const all: T[] = [];
  let pageToken = '';
  do {
    const answer = await listing.ask({ pageSize: PAGE_ROWS, pageToken });
    all.push(...listing.rows(answer));
    pageToken = answer.nextPageToken;
    if (pageToken !== '' && all.length >= ROWS_MAX) throw new Error(`more than ${ROWS_MAX} rows: ask for fewer`);
  } while (pageToken !== '');
  return all;
}

function jsonOf<D extends DescMessage>(schema: D, message: MessageShape<D>): unknown {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}
