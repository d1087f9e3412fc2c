import { spawnSync } from 'node:child_process'
import { messageOf } from '../kernel/errors.ts'

const PROBE_TIMEOUT_MS = 60_000
const RUN_TIMEOUT_MS = 150_000

/**
 * A Python with scipy and scikit-learn, the reference for statistics. `MILLRACE_TEST_PYTHON` names one, and must then
 * work (so set it in CI); else `python3` is tried. Without one the tests are skipped, after a line that says how to run
 * them.
 * @returns the command, or null
 */
export function scientificPython(): string | null {
  const declared = process.env.MILLRACE_TEST_PYTHON
  const command = declared ?? 'python3'
  const probe = spawnSync(command, ['-c', 'import scipy, sklearn'], { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS })
  if (probe.status === 0) return command
  const why = probe.error ? messageOf(probe.error) : probe.stderr.trim().split('\n').at(-1)
  if (declared !== undefined) throw new Error(`MILLRACE_TEST_PYTHON=${declared} can't import scipy and sklearn: ${why}`)
  console.warn(
    `Skipped: tests against scipy and scikit-learn (${why}). To run them: python3 -m venv VENV && ` +
      `VENV/bin/pip install scipy scikit-learn && MILLRACE_TEST_PYTHON=VENV/bin/python npm test`,
  )
  return null
}

/** Runs a script that reads `input` as JSON from stdin and prints JSON. */
export function runPython<T>(command: string, script: string, input: unknown): T {
  const run = spawnSync(command, ['-c', script], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    timeout: RUN_TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
  })
  if (run.status !== 0) throw new Error(`Python failed: ${run.error ? messageOf(run.error) : run.stderr.slice(-2000)}`)
  return JSON.parse(run.stdout) as T
}
