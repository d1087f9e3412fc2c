import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ownMsOf } from '../../../testing/stopwatch.ts'
import { limitLog } from '../log-limit.ts'
import { ATTEMPT_MARK } from '../marks.ts'
import { readProcessRecords } from '../process-record.ts'
import { findTree } from './kill-tree.ts'
import { claimUnstarted, observeStep, startStep, stopStep, waitForStep } from './step-process.ts'

const env: Record<string, string> = { PATH: process.env['PATH'] ?? '' }
let base: string
let count = 0
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'millrace-step-'))
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

function attempt(command: string) {
  count++
  const token = `token-${process.pid}-${count}`
  return { dir: join(base, `attempt-${count}`), command, cwd: base, env, token }
}
const marked = (token: string) => findTree({ roots: [], mark: { name: ATTEMPT_MARK, value: token } })
const log = (dir: string) => readFileSync(join(dir, 'log'), 'utf8')
const until = async (met: () => boolean | Promise<boolean>) => {
  const deadline = performance.now() + 20_000
  while (!(await met())) {
    if (performance.now() > deadline) throw new Error('It did not come about within 20 s.')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

describe('a step', () => {
  it('runs with its environment, its output in a file and its status on disk', async () => {
    const step = { ...attempt('echo "out $ONE"; echo err >&2; exit 3'), env: { ...env, ONE: '1' } }
    const { exited } = await startStep(step)
    expect(await exited).toEqual({ code: 3, signal: null })
    expect(log(step.dir)).toBe('out 1\nerr\n')
    expect(await observeStep(step.dir, step.token)).toEqual({ kind: 'exited', code: 3 })
  })

  it('reports a missing command as status 127, with the shell’s words in the log', async () => {
    const step = attempt('no-such-command-here')
    const { exited } = await startStep(step)
    expect((await exited).code).toBe(127)
    expect(log(step.dir)).toContain('not found')
  })

  it('reports a signal as 128 + its number', async () => {
    const step = attempt('kill -KILL $$')
    const { exited } = await startStep(step)
    expect((await exited).code).toBe(137)
    expect(await observeStep(step.dir, step.token)).toEqual({ kind: 'exited', code: 137 })
  })

  it('writes down how the command took a SIGTERM to the whole group', async () => {
    const step = attempt(`trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done`)
    const { pid, exited } = await startStep(step)
    await until(() => existsSync(join(step.dir, 'log')) && log(step.dir).includes('ready'))
    process.kill(-pid, 'SIGTERM')
    expect((await exited).code).toBe(7)
    expect(log(step.dir)).toContain('bye')
  })

  it('is seen as running, and stopped with all that it started', async () => {
    const step = attempt('sleep 100 & (sleep 100; true) & wait')
    const { exited } = await startStep(step)
    await until(async () => (await marked(step.token)).length >= 4)
    expect(await observeStep(step.dir, step.token)).toMatchObject({ kind: 'running' })
    await stopStep(step.dir, step.token)
    expect((await exited).code).toBe(143)
    expect(await marked(step.token)).toEqual([])
  })

  it('is stopped also where it ignores SIGTERM or has left its group', async () => {
    const step = attempt(`trap '' TERM; setsid -f sleep 100; nohup setsid sleep 100 & while :; do sleep 1; done`)
    await startStep(step)
    await until(async () => (await marked(step.token)).length >= 4)
    const started = performance.now()
    const ownMs = await ownMsOf(() => stopStep(step.dir, step.token, 300))
    expect(performance.now() - started).toBeGreaterThanOrEqual(300)
    // Not the five seconds that a step has by default.
    expect(ownMs).toBeLessThan(2_000)
    expect(await marked(step.token)).toEqual([])
  })

  it('leaves nothing running that it forked and left', async () => {
    const step = attempt('(trap "" HUP TERM; setsid sh -c "while :; do sleep 1; done") & sleep 0.2; echo done')
    const { exited } = await startStep(step)
    expect((await exited).code).toBe(0)
    expect(await marked(step.token)).toEqual([])
  })

  it('says that it vanished when its shell is killed, and can still be cleaned up', async () => {
    const step = attempt('sleep 100')
    const { pid } = await startStep(step)
    process.kill(pid, 'SIGKILL')
    await until(async () => (await observeStep(step.dir, step.token)).kind === 'vanished')
    await stopStep(step.dir, step.token)
    expect(await marked(step.token)).toEqual([])
  })

  it('never runs once it has been given up', async () => {
    const step = attempt('touch ran')
    expect(await observeStep(step.dir, step.token)).toEqual({ kind: 'not-started' })
    expect(await claimUnstarted(step.dir)).toBe(true)
    await expect(startStep(step)).rejects.toMatchObject({ code: 'MR_STEP_GIVEN_UP' })
    expect(existsSync(join(base, 'ran'))).toBe(false)
    expect(await claimUnstarted(step.dir)).toBe(true)
    expect(await observeStep(step.dir, step.token)).toEqual({ kind: 'not-started' })
  })

  it('can not be given up, nor started again, once it has begun', async () => {
    const step = attempt('echo once >> runs')
    await (
      await startStep(step)
    ).exited
    expect(await claimUnstarted(step.dir)).toBe(false)
    await expect(startStep(step)).rejects.toMatchObject({ code: 'MR_STEP_GIVEN_UP' })
    expect(readFileSync(join(base, 'runs'), 'utf8')).toBe('once\n')
    expect(await observeStep(step.dir, step.token)).toEqual({ kind: 'exited', code: 0 })
  })

  it('either runs or is given up, never both, whoever is first', async () => {
    for (let round = 0; round < 15; round++) {
      const step = attempt('echo ran > ran-$ROUND')
      step.env = { ...env, ROUND: String(round) }
      const starting = startStep(step).then(
        ({ exited }) => exited,
        (error: { code: string }) => error,
      )
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 6))
      const givenUp = await claimUnstarted(step.dir)
      await starting
      expect(existsSync(join(base, `ran-${round}`))).toBe(!givenUp)
    }
  })

  it('says clearly that its working directory is not there', async () => {
    const step = { ...attempt('true'), cwd: join(base, 'nowhere') }
    await expect(startStep(step)).rejects.toMatchObject({
      code: 'MR_SPAWN',
      message: expect.stringContaining('nowhere'),
    })
  })

  it('works in directories with odd names', async () => {
    const step = attempt('pwd')
    step.dir = join(base, `a "b" $c 'd' ü`)
    step.cwd = join(base, '-n `x`')
    mkdirSync(step.cwd)
    expect((await (await startStep(step)).exited).code).toBe(0)
    expect(log(step.dir)).toContain('-n `x`')
  })

  it('has a process record as long as it runs', async () => {
    const step = { ...attempt('sleep 100'), record: { dataDir: base, id: 'run-1.train.1' } }
    const { pid, exited } = await startStep(step)
    expect(readProcessRecords(base)).toMatchObject([{ id: 'run-1.train.1', role: 'step', pid, token: step.token }])
    await stopStep(step.dir, step.token)
    await exited
    expect(readProcessRecords(base)).toEqual([])
  })

  it('lives on when the process that started it is killed, and its end is found', async () => {
    const step = attempt('echo begin; while [ ! -e go ]; do sleep 0.05; done; echo end; exit 5')
    const starter = join(base, 'starter.ts')
    const modulePath = new URL('./step-process.ts', import.meta.url).href
    writeFileSync(
      starter,
      `import { startStep } from '${modulePath}'\nawait startStep(${JSON.stringify(step)})\nconsole.log('up')\nsetInterval(() => {}, 1000)\n`,
    )
    const parent = spawn(process.execPath, [starter], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => parent.stdout.once('data', resolve))
    parent.kill('SIGKILL')
    expect(await observeStep(step.dir, step.token)).toMatchObject({ kind: 'running' })
    writeFileSync(join(base, 'go'), '')
    expect(await waitForStep(step.dir, step.token)).toEqual({ kind: 'exited', code: 5 })
    expect(log(step.dir)).toBe('begin\nend\n')
  })

  it('costs little more than its command', async () => {
    const steps: number[] = []
    const shells: number[] = []
    for (let round = 0; round < 20; round++) {
      const started = performance.now()
      await (
        await startStep(attempt('true'))
      ).exited
      const between = performance.now()
      await promisify(execFile)('/bin/sh', ['-c', 'true'])
      steps.push(between - started)
      shells.push(performance.now() - between)
    }
    const median = (times: number[]) => times.toSorted((a, b) => a - b)[10]!
    // A shell that does nothing takes a few milliseconds, and longer where the machine has other things to do.
    expect(median(steps)).toBeLessThan(55 + 3 * median(shells))
  })
})

describe('limitLog', () => {
  it('keeps the head and the tail of a log that is being written', async () => {
    const path = join(base, 'log')
    const writing = promisify(execFile)('/bin/sh', [
      '-c',
      `i=0; while [ $i -lt 40000 ]; do echo "line $i"; i=$((i+1)); done >> '${path}'`,
    ])
    let largest = 0
    let done = false
    void writing.then(() => (done = true))
    writeFileSync(path, '', { flag: 'a' })
    while (!done) {
      await limitLog(path, 20_000)
      largest = Math.max(largest, statSync(path).size)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await limitLog(path, 20_000)
    const text = readFileSync(path, 'utf8')
    expect(text).toMatch(/^line 0\nline 1\n/)
    expect(text).toMatch(/line 39999\n$/)
    expect(text.match(/\[millrace: +\d+ bytes left out here\]/g)).toHaveLength(1)
    expect(text).not.toContain('\0')
    expect(statSync(path).size).toBeLessThanOrEqual(20_000)
    const cut = Number(/millrace: +(\d+) bytes/.exec(text)?.[1])
    const all = Array.from({ length: 40_000 }, (_, i) => `line ${i}\n`.length).reduce((a, b) => a + b)
    const kept = text.replace(/\n\[millrace.*\]\n/, '').length
    expect(Math.abs(cut + kept - all)).toBeLessThan(all / 10)
  })

  it('leaves a log alone that is within its limit', async () => {
    const path = join(base, 'log')
    writeFileSync(path, 'short\n')
    expect(await limitLog(path, 100)).toBe(0)
    expect(readFileSync(path, 'utf8')).toBe('short\n')
  })
})
