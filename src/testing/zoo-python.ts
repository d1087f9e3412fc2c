import { spawnSync } from 'node:child_process'
import { messageOf } from '../kernel/errors.ts'

const PROBE_TIMEOUT_MS = 120_000
const BUILD_TIMEOUT_MS = 900_000
const PACKAGES = 'numpy pandas scikit-learn onnx skl2onnx onnxmltools onnxruntime xgboost-cpu lightgbm catboost'
const MODULES = 'numpy, pandas, sklearn, onnx, skl2onnx, onnxmltools, onnxruntime, xgboost, lightgbm, catboost'

/**
 * A Python with the converters that real models come out of. `MILLRACE_TEST_ZOO_PYTHON` names one, and must then work
 * (so set it in CI). Without it the tests are skipped, after a line that says how to run them.
 * @returns the command, or null
 */
export function zooPython(): string | null {
  const declared = process.env.MILLRACE_TEST_ZOO_PYTHON
  if (declared === undefined) {
    console.warn(
      `Skipped: models of real converters. To run them: python3 -m venv VENV && VENV/bin/pip install ${PACKAGES} && ` +
        `MILLRACE_TEST_ZOO_PYTHON=VENV/bin/python npm test`,
    )
    return null
  }
  const probe = spawnSync(declared, ['-c', `import ${MODULES}`], { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS })
  if (probe.status === 0) return declared
  const why = probe.error ? messageOf(probe.error) : probe.stderr.trim().split('\n').at(-1)
  throw new Error(`MILLRACE_TEST_ZOO_PYTHON=${declared} can't import the converters: ${why}`)
}

/** Runs a Python file to its end. @throws with its last words */
export function runPythonFile(command: string, args: readonly string[]): void {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ORT_DISABLE_TELEMETRY: '1' }
  const run = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: BUILD_TIMEOUT_MS,
    env,
    maxBuffer: 64 * 1024 * 1024,
  })
  if (run.status === 0) return
  throw new Error(`${args[0]} failed: ${run.error ? messageOf(run.error) : run.stderr.slice(-2000)}`)
}
