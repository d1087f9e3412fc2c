import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { runJob, sweepJobs, type JobOptions } from './job.ts'
import { readProcessRecords } from './process-record.ts'
import { findAll } from './stop-all.ts'

const bodies = `
import { runJobMain } from ${JSON.stringify(new URL('./job-main.ts', import.meta.url).href)}
import { MillraceError } from ${JSON.stringify(new URL('../errors.ts', import.meta.url).href)}
import { spawn } from 'node:child_process'
await runJobMain({
  async double(input, { progress }) { progress({ done: 1 }); progress({ done: 2 }); console.log('working'); return { value: input.value * 2 } },
  async nothing() {},
  async refuse() { throw new MillraceError({ code: 'MR_TEST', kind: 'invalid', message: 'No.', fix: 'Do it.', retryable: true }) },
  async defect() { throw new TypeError('oops') },
  async die() { console.error('last words'); process.kill(process.pid, 'SIGKILL'); await new Promise(() => {}) },
  async exit() { process.exit(0) },
  async chatter() { console.log('x'.repeat(1e6)); console.log('the end') },
  async hang() { spawn('setsid', ['sleep', '1000'], { stdio: 'ignore' }); await new Promise((r) => setTimeout(r, 1e6)) },
})
`
let dataDir: string
let entry: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'millrace-job-'))
  entry = join(dataDir, 'job.ts')
  writeFileSync(entry, bodies)
})
afterEach(async () => {
  const left = await findAll(dataDir)
  rmSync(dataDir, { recursive: true, force: true })
  if (left.length > 0) throw new Error(`Left running: ${left.join(', ')}`)
})

const run = <T>(kind: string, more: Partial<JobOptions> = {}) =>
  runJob<T>({ kind, input: { value: 21 }, timeoutMs: 20_000, dataDir, entry, ...more })
const until = async (met: () => boolean | Promise<boolean>) => {
  const deadline = performance.now() + 20_000
  while (!(await met())) {
    if (performance.now() > deadline) throw new Error('It did not come about within 20 s.')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

it('gives back what the body returns, with progress and output on the way', async () => {
  const progress: unknown[] = []
  const output: string[] = []
  const result = await run('double', { onProgress: (p) => progress.push(p), onOutput: (text) => output.push(text) })
  expect(result).toEqual({ value: 42 })
  expect(progress).toEqual([{ done: 1 }, { done: 2 }])
  expect(output).toEqual(['working\n'])
  expect(readdirSync(join(dataDir, 'jobs'))).toEqual([])
  expect(readProcessRecords(dataDir)).toEqual([])
  expect(await run('nothing')).toBeNull()
})

it('throws what the body throws, with code, fix and whether to try again', async () => {
  await expect(run('refuse')).rejects.toMatchObject({
    code: 'MR_TEST',
    kind: 'invalid',
    message: 'No.',
    fix: 'Do it.',
    retryable: true,
  })
  await expect(run('defect')).rejects.toMatchObject({ code: 'MR_JOB_DEFECT', message: expect.stringContaining('oops') })
  await expect(run('unknown')).rejects.toMatchObject({ message: expect.stringContaining("'unknown'") })
})

it('says how a job ended that left no result', async () => {
  const killed = { code: 'MR_JOB_FAILED', retryable: true, message: expect.stringMatching(/SIGKILL.*last words/s) }
  await expect(run('die')).rejects.toMatchObject(killed)
  await expect(run('exit')).rejects.toMatchObject({ code: 'MR_JOB_FAILED', retryable: false })
})

it('is stopped with all that it started when its time is over, or by its signal', async () => {
  await expect(run('hang', { timeoutMs: 700 })).rejects.toMatchObject({ code: 'MR_JOB_TIMED_OUT' })
  expect(await findAll(dataDir)).toEqual([])
  const stop = new AbortController()
  setTimeout(() => stop.abort(new Error('not wanted')), 500)
  await expect(run('hang', { signal: stop.signal })).rejects.toThrow('not wanted')
})

it('is stopped also where its signal comes while it is being started', async () => {
  const stop = new AbortController()
  const running = run('hang', { signal: stop.signal })
  // Its first look at the signal is over, and its process is not there yet.
  stop.abort(new Error('not wanted'))
  await expect(running).rejects.toThrow('not wanted')
})

it('is not left running where no record of it can be written', async () => {
  writeFileSync(join(dataDir, 'run'), 'in the way')
  await expect(run('hang')).rejects.toMatchObject({ code: 'MR_DATA_DIR' })
  rmSync(join(dataDir, 'run'))
  expect(await findAll(dataDir)).toEqual([])
})

it('has the end of what it said kept, however much that was', async () => {
  const output: string[] = []
  await run('chatter', { onOutput: (text) => output.push(text) })
  expect(output[0]).toHaveLength(4_000)
  expect(output[0]!.endsWith('the end\n')).toBe(true)
})

it('ends when its parent is killed; what it left is swept', async () => {
  const parentFile = join(dataDir, 'parent.ts')
  const options = JSON.stringify({ kind: 'hang', input: null, timeoutMs: 60_000, dataDir, entry })
  const module = JSON.stringify(new URL('./job.ts', import.meta.url).href)
  writeFileSync(parentFile, `import { runJob } from ${module}\nawait runJob(${options})`)
  const parent = spawn(process.execPath, [parentFile], { stdio: 'inherit' })
  await until(async () => (await findAll(dataDir)).length >= 2)
  const [record] = readProcessRecords(dataDir)
  parent.kill('SIGKILL')
  await until(() => !existsSync(`/proc/${record?.pid}/exe`))
  await sweepJobs(dataDir)
  expect(readProcessRecords(dataDir)).toEqual([])
  expect(existsSync(join(dataDir, 'jobs'))).toBe(false)
})
