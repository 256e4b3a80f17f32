import { defineConfig } from 'vitest/config';

const all = Number(process.env.OCTAVO_TEST_ALL ?? 0) > 0;

// Nothing is asserted about time. The limits only end what hangs: ten times and more what the
// longest test takes on two quiet cores.
const limit = all ? 3_600_000 : 300_000;

// What touches nothing but its arguments: such files share a process, which saves a third of a
// second each.
const pure = 'test/{config,core,model,text,wire}/**/*.test.ts';

export default defineConfig({
  test: {
    globalSetup: 'test/support/setup.ts',
    reporters: ['default', './test/support/unfinished.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: limit,
    hookTimeout: limit,
    projects: [
      {
        extends: true,
        test: { name: 'engine', include: ['test/**/*.test.ts'], exclude: [pure] },
      },
      { extends: true, test: { name: 'pure', include: [pure], isolate: false } },
    ],
  },
});
