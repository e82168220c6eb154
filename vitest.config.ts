import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/engines.ts'],
    setupFiles: ['test/properties.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Against what never ends: with ten times as much to do as it has cores, a machine takes two minutes for the longest.
    testTimeout: 240_000,
    hookTimeout: 90_000,
    // A zone with an odd offset: what leans on the zone of the machine fails here.
    env: { TZ: 'Asia/Kathmandu' },
  },
});
