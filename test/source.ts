import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** One source file, parsed. Paths are relative to the project's root. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** What it imports or re-exports of the project's own. */
  readonly imports: readonly string[];
  readonly functions: readonly { readonly name: string; readonly line: number; readonly lines: number }[];
  /** Whether it declares nothing and only passes on what others export. */
  readonly isBarrel: boolean;
  readonly anyLines: readonly number[];
  /** Numbers with a fraction, and calls that make floats. */
  readonly floatLines: readonly number[];
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);
const FLOAT_CALLS =
  /^(parseFloat|Number\.parseFloat|.+\.toFixed|.+\.toPrecision|Math\.(round|floor|ceil|trunc|fround))$/;

/** Every TypeScript file below these folders. */
export function readSources(...folders: string[]): SourceFile[] {
  return folders.flatMap((folder) => {
    const entries = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' });
    const paths = entries.filter((path) => path.endsWith('.ts')).map((path) => join(folder, path));
    return paths.toSorted().map((path) => readSource(path, readFileSync(join(ROOT, path), 'utf8')));
  });
}

/** Parses one file's text. @throws Error where it is no TypeScript */
export function readSource(path: string, text: string): SourceFile {
  const { program, module, errors } = parseSync(path, text);
  if (errors[0] !== undefined) throw new Error(`${path}: ${errors[0].message}`);
  const lineOf = (offset: number): number => text.slice(0, offset).split('\n').length;
  const functions: SourceFile['functions'][number][] = [];
  const anyLines: number[] = [];
  const floatLines: number[] = [];
  walk(program, (node) => {
    if (FUNCTIONS.has(node.type)) {
      const line = lineOf(node.start);
      functions.push({ name: text.slice(node.start, node.start + 40), line, lines: lineOf(node.end) - line + 1 });
    }
    if (node.type === 'TSAnyKeyword') anyLines.push(lineOf(node.start));
    if (isFloat(node, text)) floatLines.push(lineOf(node.start));
  });
  const requests = [
    ...module.staticImports.map((each) => each.moduleRequest.value),
    ...module.staticExports.flatMap((each) => each.entries.map((entry) => entry.moduleRequest?.value ?? '')),
  ];
  const own = requests.filter((request) => request.startsWith('.'));
  const isBarrel =
    program.body.every((node) => 'source' in node && node.source !== null) && module.staticExports.length > 1;
  return {
    path,
    text,
    imports: [...new Set(own.map((request) => relative('.', join(dirname(path), request))))],
    functions,
    isBarrel,
    anyLines,
    floatLines,
  };
}

function isFloat(node: Node, text: string): boolean {
  if (node.type === 'Literal') return typeof node['value'] === 'number' && !Number.isInteger(node['value']);
  if (node.type !== 'CallExpression' || !isNode(node['callee'])) return false;
  return FLOAT_CALLS.test(text.slice(node['callee'].start, node['callee'].end));
}

function walk(value: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(value)) {
    for (const each of value) walk(each, visit);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  if (isNode(value)) visit(value);
  for (const each of Object.values(value)) walk(each, visit);
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value && 'end' in value;
}
