import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stepAgeMs } from './step-age.ts'
import { startStep, stopStep } from './step-process.ts'

/** Start times count in hundredths of a second, both of the step and of this process. */
const TICKS_MS = 20
/** Between the system's start of this process and the moment from which Node counts. */
const BOOT_MS = 2_000

let dir: string
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'mr-age-')))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe.runIf(process.platform === 'linux')('the age of a step', () => {
  it('is the time since it was started, and passes as time does', async () => {
    const beforeMs = performance.now()
    const attempt = join(dir, 'attempt')
    await startStep({ dir: attempt, command: 'sleep 60', cwd: dir, env: {}, token: 'age' })
    const startedMs = performance.now()
    try {
      await sleep(3_000)
      const [age, nowMs] = [stepAgeMs(attempt)!, performance.now()]
      expect(age).toBeLessThanOrEqual(nowMs - beforeMs + TICKS_MS)
      expect(age).toBeGreaterThanOrEqual(nowMs - startedMs - TICKS_MS - BOOT_MS)
      await sleep(200)
      expect(stepAgeMs(attempt)! - age).toBeGreaterThanOrEqual(199)
    } finally {
      await stopStep(attempt, 'age', 0)
    }
  }, 30_000)

  it('is not known before its process has said who it is', () => {
    expect(stepAgeMs(join(dir, 'nothing'))).toBeNull()
  })
})
