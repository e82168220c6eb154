/**
 * What `npm test [-- filter…]` runs. The last line that it prints is the sum: `N passed, N failed`, with skipped ones
 * where there are any. A file that does not load counts as a failed test, and so does an error outside of any test; no test
 * at all is a failure.
 */
import { startVitest } from 'vitest/node';

const vitest = await startVitest(process.argv.slice(2), { run: true, watch: false });
await vitest.close();

const modules = vitest.state.getTestModules();
const results = modules.flatMap((module) => [...module.children.allTests()]).map((test) => test.result().state);
const count = (...states: string[]): number => results.filter((state) => states.includes(state)).length;

const passed = count('passed');
const skipped = count('skipped');
// A test that never got a result, because its worker died, has not passed.
const failed = results.length - passed - skipped + brokenCount();

if (failed > 0 || results.length === 0) process.exitCode = 1;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);

/** Files and suites that failed outside of their tests, and errors that belong to none. */
function brokenCount(): number {
  const suites = modules.flatMap((module) => [module, ...module.children.allSuites()]);
  return suites.filter((suite) => suite.errors().length > 0).length + vitest.state.getUnhandledErrors().length;
}
