import { configureGlobal } from 'fast-check';

// Below the time a test has: a property that is slow to shrink ends with its seed and the smallest counterexample so far,
// in place of a test that took too long and says neither.
configureGlobal({ interruptAfterTimeLimit: 200_000, markInterruptAsFailure: true });
