import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { until } from '../../../testing/control-lab.ts'
import { processEntry } from '../process-entry.ts'
import { afterName } from './process-table.ts'
import { observeStep, stopStep, waitForStep, type StepOptions } from './step-process.ts'
import { StepStarter } from './step-starter.ts'

let base: string
let starter: StepStarter
let attempts = 0

beforeAll(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-starter-')))
  starter = new StepStarter(processEntry('step-starter'))
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

function step(command: string): StepOptions {
  const token = `starter-${process.pid}-${++attempts}`
  const env = { PATH: process.env['PATH'] ?? '' }
  return { dir: join(base, token), command, cwd: base, env, token, record: { dataDir: base, id: `step-${attempts}` } }
}

/** Who has started a step. */
const parentOf = (pid: number) => Number(afterName(readFileSync(`/proc/${pid}/stat`, 'utf8'))[1])

it('starts steps that are not its own children, and tells how they ended', async () => {
  const one = step('while [ ! -e go-1 ]; do sleep 0.02; done; exit 3')
  const { pid, exited } = await starter.start(one)
  expect(await observeStep(one.dir, one.token)).toEqual({ kind: 'running', pid })
  expect(parentOf(pid)).not.toBe(process.pid)
  await (
    await starter.start(step('touch go-1'))
  ).exited
  expect((await exited).code).toBe(3)
  expect(existsSync(join(base, 'run', 'step-1.json'))).toBe(false)
})

it('says why a step could not be started, as if it had been started here', async () => {
  const nowhere = { ...step('true'), cwd: join(base, 'nowhere') }
  await expect(starter.start(nowhere)).rejects.toMatchObject({ code: 'MR_SPAWN' })
})

it('lets what it has begun go on when it is killed, and starts the next from another one', async () => {
  const first = step('while [ ! -e go-2 ]; do sleep 0.02; done; exit 5')
  const { pid, exited } = await starter.start(first)
  process.kill(parentOf(pid), 'SIGKILL')
  await exited
  expect(await observeStep(first.dir, first.token)).toEqual({ kind: 'running', pid })
  const second = await starter.start(step('touch go-2'))
  expect((await second.exited).code).toBe(0)
  expect(await waitForStep(first.dir, first.token)).toEqual({ kind: 'exited', code: 5 })
})

it('ends what a step has left running before it says that it has ended', async () => {
  const left = step('setsid sleep 300 & echo $! > left; exit 0')
  expect((await (await starter.start(left)).exited).code).toBe(0)
  const pid = Number(readFileSync(join(base, 'left'), 'utf8'))
  await until('the process is gone', () => !existsSync(`/proc/${pid}`))
  await stopStep(left.dir, left.token)
})
