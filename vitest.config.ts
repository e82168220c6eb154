import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/engines.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 90_000,
    hookTimeout: 30_000,
    // A zone with an odd offset: what leans on the zone of the machine fails here.
    env: { TZ: 'Asia/Kathmandu' },
  },
});
