import { delimiter, dirname, join } from 'node:path'
import type { StepRuntime } from '../control/pipeline/run-controller.ts'
import { ensureEnvironment } from '../kernel/runtime/environments.ts'
import { limitLog } from '../kernel/runtime/log-limit.ts'
import { stepAgeMs } from '../kernel/runtime/process/step-age.ts'
import { claimUnstarted, observeStep, stopStep } from '../kernel/runtime/process/step-process.ts'
import { StepStarter } from '../kernel/runtime/process/step-starter.ts'
import { processEntry } from '../kernel/runtime/process-entry.ts'

type RunJob = <T>(kind: string, input: unknown, signal: AbortSignal) => Promise<T>

interface LocalSteps {
  dataDir: string
  job: RunJob
  /** Told what has outlived a step, and can't be ended. */
  onSurvivor?: (error: unknown) => void
}

/** Steps as processes of this machine. */
export function stepRuntime({ dataDir, job, onSurvivor }: LocalSteps): StepRuntime {
  const starter = new StepStarter(processEntry('step-starter'))
  return {
    async start({ dir, command, cwd, env, token }) {
      const { exited } = await starter.start({
        dir,
        command,
        cwd,
        env,
        token,
        record: { dataDir, id: `step-${token.slice(0, 8)}` },
        ...(onSurvivor === undefined ? {} : { onSurvivor }),
      })
      return { exited: exited.then(() => undefined) }
    },
    observe: observeStep,
    claimUnstarted,
    ageMs: stepAgeMs,
    stop: stopStep,
    async limitLog(dir, limitBytes) {
      await limitLog(join(dir, 'log'), limitBytes)
    },
    async environment(config, root, onLog, signal) {
      const built = await ensureEnvironment(config, { root, cacheDir: join(dataDir, 'environments'), onLog, signal })
      const { kind } = config
      return {
        env: { ...inherited(), ...built.env },
        nodeModules: built.nodeModules,
        record: { kind, digest: built.digest, reproducible: built.reproducible },
      }
    },
    async materialiseSql(sql, asOfMs, root, target, signal) {
      await job('materialise', { lakeDir: join(dataDir, 'lake'), root, sql, asOfMs, outPath: target }, signal)
    },
  }
}

/**
 * What a step inherits: everything but Millrace's own variables (the database's address is nobody else's), with the
 * Node that Millrace runs on first in PATH, so that `node train.mjs` works where no other is installed.
 */
function inherited(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    (e): e is [string, string] => e[1] !== undefined && !e[0].startsWith('MILLRACE_') && e[0] !== 'NODE_COMPILE_CACHE',
  )
  const env = Object.fromEntries(kept)
  return { ...env, PATH: [dirname(process.execPath), env['PATH'] ?? ''].filter(Boolean).join(delimiter) }
}
