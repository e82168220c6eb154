import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeCompiler, type NodeTypstDocument } from '@myriaddreamin/typst-ts-node-compiler';
import type { InvoiceView } from './invoice-view.ts';

const FOLDER = fileURLToPath(new URL('template', import.meta.url));
const TEMPLATE = join(FOLDER, 'invoice.typ');
/** One folder for each weight. The machine's own fonts are left out: the same invoice looks the same everywhere. */
const FONTS = [
  [import.meta.resolve('@expo-google-fonts/noto-sans/package.json'), '400Regular', '700Bold'],
  [import.meta.resolve('@expo-google-fonts/noto-sans-arabic/package.json'), '400Regular', '700Bold'],
  [import.meta.resolve('@expo-google-fonts/noto-sans-hebrew/package.json'), '400Regular', '700Bold'],
  [import.meta.resolve('@expo-google-fonts/noto-sans-sc/package.json'), '400Regular', '700Bold'],
] as const;
/** Parts of documents that the compiler keeps are dropped after as many further documents. */
const CACHE_DOCUMENTS = 10;

let compiler: NodeCompiler | undefined;

/**
 * A PDF/A-3b. The same view and time give the same bytes.
 * @param createdAt what the document says of itself
 * @throws Error where the template does not fit the view, or none of the fonts has one of its characters
 */
export function renderPdf(view: InvoiceView, createdAt: Date): Uint8Array {
  compiler ??= createCompiler();
  try {
    const creationTimestamp = Number(BigInt(createdAt.getTime()) / 1000n);
    return compiler.pdf(layOut(compiler, view), { pdfStandard: 'a-3b', creationTimestamp });
  } finally {
    compiler.evictCache(CACHE_DOCUMENTS);
  }
}

/** Reads the fonts: made with the first document, since most processes make none. */
function createCompiler(): NodeCompiler {
  const fontPaths = FONTS.flatMap(([url, ...weights]) => {
    const folder = dirname(fileURLToPath(url));
    return weights.map((weight) => join(folder, weight));
  });
  return NodeCompiler.create({ workspace: FOLDER, fontArgs: [{ fontPaths }] });
}

function layOut(of: NodeCompiler, view: InvoiceView): NodeTypstDocument {
  const compiled = of.compile({ mainFilePath: TEMPLATE, inputs: { invoice: JSON.stringify(view) } });
  if (compiled.result !== null) return compiled.result;
  const problems = compiled.takeDiagnostics()?.shortDiagnostics ?? [];
  throw new Error(`the template of invoices does not fit invoice ${view.number}: ${JSON.stringify(problems)}`);
}
