import { defineConfig } from 'vitest/config'

/**
 * Two projects: `fast` is what `npm run check` runs (pure code, fakes, PGlite in memory);
 * `slow` starts real processes, databases and clients.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'fast',
          // One worker a processor: by itself vitest leaves one idle, which is half of a small machine.
          maxWorkers: '100%',
          include: ['src/**/*.test.ts', 'examples/**/*.test.ts'],
          exclude: ['**/*.slow.test.ts', '**/node_modules/**'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'slow',
          include: ['src/**/*.slow.test.ts', 'tests/**/*.test.ts'],
          exclude: ['tests/crash/**', '**/node_modules/**'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'crash',
          include: ['tests/crash/**/*.test.ts'],
          testTimeout: 3_600_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
