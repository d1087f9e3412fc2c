import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/*
 * `fast` is what `npm run check` runs: pure code and fakes. `database` has PGlite in memory, or PostgreSQL where there is
 * one. Neither has a process for each file: what a file leaves behind in its modules the next ones see, and a warm
 * WebAssembly is several times as fast as a cold one.
 *
 * `slow` starts real processes, databases and clients. One such file waits too much to use even a small machine, so three
 * run at once, which share nothing: folders of their own, ports that the system chooses, databases of their own.
 * `slow-alone` comes last, one file at a time. `--project 'slow*'` finds a file in whichever it is.
 */

/** What keeps the machine so busy that the times of others would suffer, or compares times with each other. */
const alone = ['src/serving/gateway/resilience.slow.test.ts', 'src/serving/model-server/run-process.slow.test.ts']

/** Files that take a minute or so come first, the longest before all: none of them is left over at the end. */
const longest = [
  'tests/autoscaling.test.ts',
  'tests/environments.test.ts',
  'tests/release-load.test.ts',
  'src/kernel/store/durability.slow.test.ts',
  'tests/gather.test.ts',
  'tests/bad-input.test.ts',
  'tests/loop.test.ts',
  'src/processes/supervisor.slow.test.ts',
  'tests/docs.test.ts',
  'tests/package.test.ts',
  'tests/bad-places.test.ts',
]

const gone = [...alone, ...longest].filter((path) => !existsSync(join(import.meta.dirname, path)))
if (gone.length > 0) throw new Error(`vitest.config.ts names files that are not there: ${gone.join(', ')}.`)

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const found = longest.indexOf(relative(import.meta.dirname, moduleId))
      return found === -1 ? longest.length : found
    }
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b))
  }
}

const inProcess = {
  isolate: false,
  // One worker a processor: by itself vitest leaves one idle, which is half of a small machine.
  maxWorkers: '100%',
  // For failures only; CI runs these at a low priority too, beside other things.
  testTimeout: 60_000,
  hookTimeout: 60_000,
}

/** Generous: they are only waited for where something is wrong. */
const slow = {
  testTimeout: 600_000,
  hookTimeout: 600_000,
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          ...inProcess,
          name: 'fast',
          include: ['src/**/*.test.ts', 'examples/**/*.test.ts'],
          exclude: ['**/*.slow.test.ts', '**/*.db.test.ts', '**/node_modules/**'],
        },
      },
      {
        test: {
          ...inProcess,
          name: 'database',
          include: ['src/**/*.db.test.ts'],
        },
      },
      {
        test: {
          ...slow,
          name: 'slow',
          include: ['src/**/*.slow.test.ts', 'tests/**/*.test.ts'],
          exclude: ['tests/crash/**', '**/node_modules/**', ...alone],
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...slow,
          name: 'slow-alone',
          include: alone,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
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
