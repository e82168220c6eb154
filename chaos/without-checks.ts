import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

/** A check that is cut out of the code as a meterd loads it. The file on disk stays as it is. */
export interface Cut {
  readonly file: string;
  /** Stands in the file once. */
  readonly text: string;
  readonly becomes: string;
}

/** What keeps customers apart, by layer: a meterd without one has to hold all the same. */
export const LAYERS: Readonly<Record<'code' | 'storage', readonly Cut[]>> = {
  code: [
    {
      file: 'src/rpc/auth.ts',
      text: "if (key.role !== 'customer') return requestedId;",
      becomes: "if (key.role !== 'customer' || requestedId !== '') return requestedId;",
    },
    {
      file: 'src/rpc/invoice-in-scope.ts',
      text: "if (ownId !== '' && ownId !== customerId) throw",
      becomes: "if (ownId !== '' && ownId === undefined) throw",
    },
    {
      file: 'src/rpc/credit-note-in-scope.ts',
      text: "if (ownId === '' || ownId === note.customerId) return note;",
      becomes: 'if (ownId !== undefined) return note;',
    },
  ],
  storage: [
    {
      file: 'src/rpc/readable-store.ts',
      text: "if (customerId === '') return everything;",
      becomes: 'if (customerId !== undefined) return everything;',
    },
  ],
};

const CHECKOUT = new URL('../', import.meta.url);

/** The environment of a meterd that is to be without these layers. */
export function without(layers: readonly (keyof typeof LAYERS)[]): Record<string, string> {
  return { NODE_OPTIONS: `--import=${import.meta.url}`, [VARIABLE]: layers.join() };
}

const VARIABLE = 'CHAOS_WITHOUT';

/** @throws Error where the text is not in the source exactly once: the layer would still be there */
function cutOut(source: string, { file, text, becomes }: Cut): string {
  const parts = source.split(text);
  if (parts.length !== 2) throw new Error(`${text} is ${parts.length - 1} times in ${file}, not once`);
  return parts.join(becomes);
}

/** In meterd's process, which loads this file before its own. */
function cutAllOut(names: string): void {
  const cuts = Object.entries(LAYERS).flatMap(([layer, each]) => (names.split(',').includes(layer) ? each : []));
  registerHooks({
    load(url, context, nextLoad) {
      const here = cuts.filter(({ file }) => url === new URL(file, CHECKOUT).href);
      if (here.length === 0) return nextLoad(url, context);
      const source = here.reduce(cutOut, readFileSync(fileURLToPath(url), 'utf8'));
      return { format: 'module-typescript', source, shortCircuit: true };
    },
  });
}

const named = process.env[VARIABLE];
if (named !== undefined) cutAllOut(named);
