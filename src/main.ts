import { enableCompileCache, flushCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { readConfig } from './config.ts';
import { messageOf } from './lib/failure.ts';

// What is compiled is kept: later starts take two thirds of the CPU. It lies beside the code, where nobody writes who may not write
// that, and where it can't be kept meterd starts without. (`app.ts` is therefore imported below, once this has run.)
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/compile', import.meta.url)));

/** Environment → config → app → wait for the signal → stop. */
async function main(): Promise<void> {
  const config = readConfig(process.env);
  if (Array.isArray(config)) {
    for (const { variable, value, allowed } of config) {
      process.stderr.write(`${variable}=${JSON.stringify(value)} must be ${allowed}\n`);
    }
    process.exitCode = 2;
    return;
  }
  const asked = new Promise<string>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  const { startApp } = await import('./app.ts');
  const app = await startApp(config, process.env);
  process.stdout.write(`meterd is ready at ${app.url}\n`);
  if (app.firstKeyPath !== undefined) process.stdout.write(`first start: the admin key is in ${app.firstKeyPath}\n`);
  flushCompileCache();
  const reason = await Promise.race([asked, app.failed]);
  // A second signal while stopping means it: leave at once. The spool has everything that was acknowledged.
  process.once('SIGTERM', () => process.exit(1));
  process.once('SIGINT', () => process.exit(1));
  await app.stop(reason);
  if (reason !== 'SIGTERM' && reason !== 'SIGINT') process.exitCode = 1;
}

try {
  await main();
} catch (reason) {
  process.stderr.write(`meterd could not start: ${messageOf(reason)}\n`);
  process.exitCode = 1;
}
