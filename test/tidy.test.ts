import { describe, expect, it } from 'vitest';
import { readSource, readSources, type SourceFile } from './source.ts';

const FILE_LINES_MAX = 500;
const FUNCTION_LINES_MAX = 70;

/** What each folder of `src` may import besides itself. Lower layers never import higher ones, nor siblings their like. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  telemetry: ['lib', 'config'],
  storage: ['lib'],
  audit: ['storage', 'lib'],
  access: ['audit', 'storage', 'lib', 'gen'],
  ingest: ['storage', 'telemetry', 'lib', 'gen'],
  usage: ['storage', 'telemetry', 'lib'],
  billing: ['usage', 'audit', 'storage', 'telemetry', 'lib'],
  backup: ['audit', 'storage', 'lib'],
  jobs: ['ingest', 'usage', 'billing', 'audit', 'storage', 'telemetry', 'lib'],
  rpc: ['ingest', 'usage', 'billing', 'access', 'audit', 'backup', 'jobs', 'storage', 'telemetry', 'lib', 'gen'],
  web: ['rpc', 'access', 'lib'],
  cli: ['lib', 'gen'],
};
/** Parts of a folder that do less than the rest of it: they compute, and touch nothing outside. */
const PURE = [
  /^src\/billing\/rating\//,
  /^src\/billing\/(money|calendar|invoice\/(compute-invoice|input-text))\.ts$/,
  /^src\/ingest\/(validate|row-binary|record|dedup)\.ts$/,
];
const DOES_IO = /from '(node:(fs|net|http|http2|child_process)|pg|kysely|@clickhouse|\.\.\/.*storage\/)/;

const src = readSources('src');
const all = [...src, ...readSources('kernel', 'test', 'demo', 'bench', 'chaos')];

/** `src/ingest/spool/x.ts` → `ingest`; `src/app.ts` → `app`; `gen/…` → `gen`. */
function layerOf(path: string): string {
  const [top, folder] = path.split('/');
  return top === 'src' ? (folder ?? '').replace(/\.ts$/, '') : (top ?? '');
}

describe('the source', () => {
  it('has no file over 500 lines and no function over 70', () => {
    const long = all.filter((file) => file.text.split('\n').length > FILE_LINES_MAX).map((file) => file.path);
    const isSuite = (file: SourceFile): boolean => file.path.endsWith('.test.ts');
    const functions = all.flatMap((file) => {
      const tooLong = file.functions.filter(({ lines }) => lines > FUNCTION_LINES_MAX);
      // A suite's `describe` is a list of tests, not a function that someone has to follow.
      const counted = tooLong.filter(({ name }) => !(isSuite(file) && name.startsWith('() => {')));
      return counted.map(({ line, lines }) => `${file.path}:${line} has ${lines} lines`);
    });
    expect([...long, ...functions]).toEqual([]);
  });

  it('imports downwards only', () => {
    const wrong = src.flatMap((file) => {
      const from = layerOf(file.path);
      const allowed = MAY_IMPORT[from];
      if (allowed === undefined)
        return ['app', 'main', 'verify', 'restore', 'config'].includes(from) ? [] : [`${file.path}: unknown folder`];
      const targets = file.imports.filter((path) => ![from, ...allowed].includes(layerOf(path)));
      return targets.map((path) => `${file.path} imports ${path}`);
    });
    expect(wrong).toEqual([]);
  });

  it('has no import cycles', () => {
    expect(cyclesOf(all)).toEqual([]);
  });

  it('has no barrels, no `any`, nothing left undone', () => {
    const barrels = all.filter((file) => file.isBarrel).map((file) => file.path);
    const anys = all.flatMap((file) => file.anyLines.map((line) => `${file.path}:${line} any`));
    const words = [
      'T[O]DO',
      'F[I]XME',
      String.raw`\b(it|test|describe)\.(skip|only|todo)\b`,
      '@ts-(ignore|expect-error|nocheck)',
    ];
    const undone = new RegExp(words.join('|'));
    const left = all.filter((file) => undone.test(file.text)).map((file) => `${file.path} is left undone`);
    expect([...barrels, ...anys, ...left]).toEqual([]);
  });

  it('has no floats near money or quantities', () => {
    const near = src.filter((file) => ['billing', 'usage'].includes(layerOf(file.path)));
    expect(near.flatMap((file) => file.floatLines.map((line) => `${file.path}:${line}`))).toEqual([]);
  });

  it('keeps what computes apart from what reads and writes', () => {
    const pure = src.filter((file) => PURE.some((path) => path.test(file.path)));
    expect(pure.length).toBeGreaterThan(0);
    expect(pure.filter((file) => DOES_IO.test(file.text)).map((file) => file.path)).toEqual([]);
  });
});

describe('the checks themselves', () => {
  it('see a cycle, a barrel, `any`, a float and a long function', () => {
    const a = readSource('src/a.ts', "import { b } from './b.ts';\nexport const a = b;\n");
    const b = readSource('src/b.ts', "import { a } from './a.ts';\nexport const b = a;\n");
    expect(cyclesOf([a, b])).toEqual(['src/a.ts → src/b.ts → src/a.ts']);
    expect(readSource('x.ts', "export { a } from './a.ts';\nexport { b } from './b.ts';\n").isBarrel).toBe(true);
    expect(readSource('x.ts', 'export function f(x: any) {\n  return (x * 0.1).toFixed(2);\n}\n')).toMatchObject({
      anyLines: [1],
      floatLines: [2, 2],
      functions: [{ lines: 3 }],
    });
  });
});

function cyclesOf(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at !== -1) found.push([...trail.slice(at), path].join(' → '));
    if (at !== -1 || done.has(path)) return;
    for (const next of byPath.get(path)?.imports ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const file of files) visit(file.path, []);
  return found;
}
