import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Cancellation } from '../../front/cancellation.ts'
import { tellNobody } from '../../front/tell.ts'
import { ModuleCombiner, moduleLimits } from './module-combiner.ts'
import type { ModuleEnd, ModuleLimits, ModuleTask } from './module-combiner.ts'

let dir: string
const combiners: ModuleCombiner[] = []

beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'mr-module-'))))
afterEach(() => {
  for (const combiner of combiners.splice(0)) combiner.close()
  rmSync(dir, { recursive: true, force: true })
})

function moduleOf(source: string, { timeoutMs = 2_000, limits = {} as Partial<ModuleLimits>, digest = '' } = {}) {
  const path = join(dir, 'combine.ts')
  writeFileSync(path, source)
  const found = `sha256:${createHash('sha256').update(source).digest('hex')}`
  const plan = { path, digest: digest === '' ? found : digest, timeoutMs }
  const combiner = new ModuleCombiner(plan, tellNobody, { ...moduleLimits, ...limits })
  combiners.push(combiner)
  return combiner
}

const task = (value: number): Omit<ModuleTask, 'id'> => ({
  answers: [
    { name: 'a@1', weight: 1, outputs: { p: { datatype: 'FP32', shape: [1], data: Float32Array.of(value) } } },
    { name: 'b@1', weight: 2, outputs: { p: { datatype: 'FP32', shape: [1], data: Float32Array.of(3) } } },
  ],
  request: { id: 'r', parameters: {}, inputs: { x: { datatype: 'FP32', shape: [1, 1], data: Float32Array.of(9) } } },
})

const largest = `
interface Answer { name: string; weight: number; outputs: Record<string, { datatype: string; shape: number[]; data: number[] }> }
export default function combine(answers: Answer[], request: { inputs: Record<string, { data: number[] }> }) {
  const values = answers.map((answer) => answer.outputs.p!.data[0]!)
  if (values[0] === 666) throw new Error('no such value')
  if (values[0] === 777) for (;;) { /* hangs */ }
  if (values[0] === 888) process.exit(3)
  if (values[0] === 999) return { outputs: { p: { datatype: 'FP32', shape: [1], data: [() => 1] } } }
  return { outputs: { p: { datatype: 'FP32', shape: [1], data: Float32Array.of(Math.max(...values)) } } }
}`

const run = (combiner: ModuleCombiner, value: number): Promise<ModuleEnd> =>
  combiner.combine(task(value), new Cancellation())
const made = (value: number): ModuleEnd => ({
  kind: 'made',
  outputs: { p: { datatype: 'FP32', shape: [1], data: [value] } },
})
const failed = (why: RegExp) => ({ kind: 'failed', why: expect.stringMatching(why) as string })

describe('a combining module in TypeScript', () => {
  it('is called with the answers and the request, and gives the outputs', async () => {
    const combiner = moduleOf(largest)
    expect(await run(combiner, 1)).toEqual(made(3))
    expect(await Promise.all([4, 5, 6].map((value) => run(combiner, value)))).toEqual([made(4), made(5), made(6)])
  })

  it('fails its own request when it throws, or returns what no thread can send', async () => {
    const combiner = moduleOf(largest)
    const ends = await Promise.all([run(combiner, 666), run(combiner, 999), run(combiner, 5)])
    expect(ends).toEqual([failed(/it threw: no such value/), failed(/can't be sent/), made(5)])
  })

  it('is ended when it hangs, and begun anew for those that wait behind it', async () => {
    const combiner = moduleOf(largest, { timeoutMs: 300 })
    expect(await run(combiner, 1)).toEqual(made(3))
    const ends = await Promise.all([run(combiner, 777), run(combiner, 5), run(combiner, 888), run(combiner, 6)])
    expect(ends).toEqual([failed(/did not return within 300 ms/), made(5), failed(/thread ended/), made(6)])
  })

  it('is not loaded when it is not the file that was applied', async () => {
    const combiner = moduleOf(largest, { digest: `sha256:${'0'.repeat(64)}` })
    expect(await run(combiner, 1)).toEqual(
      failed(/can't be loaded: .*combine\.ts is sha256:\w+, and sha256:0+ was applied/),
    )
    expect(await run(combiner, 1)).toEqual(failed(/can't be loaded/))
  })

  it.each([
    ['has no default export', 'export const combine = 1', /no default export that is a function/],
    ['is no TypeScript', 'export default function (', /can't be loaded/],
  ])('says what is wrong when it %s', async (_what, source, why) => {
    expect(await run(moduleOf(source), 1)).toEqual(failed(why))
  })

  it('refuses more than may wait, and lets go of what nobody waits for', async () => {
    const combiner = moduleOf(largest, { limits: { waiting: 3 }, timeoutMs: 500 })
    const cancellation = new Cancellation()
    const first = combiner.combine(task(777), new Cancellation())
    const given = combiner.combine(task(4), cancellation)
    const third = run(combiner, 5)
    expect(await run(combiner, 6)).toEqual(failed(/too many requests wait/))
    cancellation.cancel('client-gone')
    expect(await given).toEqual(failed(/nobody waits/))
    expect(await Promise.all([first, third])).toEqual([failed(/did not return/), made(5)])
  })

  it('sees nothing of the gateway’s environment', async () => {
    process.env['MILLRACE_TEST_SECRET'] = 'secret'
    const source = `export default () => ({ outputs: { n: { datatype: 'INT32', shape: [1], data: [Object.keys(process.env).length] } } })`
    const end = await run(moduleOf(source), 1)
    delete process.env['MILLRACE_TEST_SECRET']
    expect(end).toMatchObject({ outputs: { n: { data: [0] } } })
  })

  it('is ended when it fills memory beside its heap, long before its time is over', async () => {
    const source = `
      const kept = []
      export default function combine(answers) {
        if (answers[0].outputs.p.data[0] === 777) for (;;) kept.push(Buffer.alloc(4 << 20, 1))
        return { outputs: { n: { datatype: 'INT32', shape: [1], data: [kept.length] } } }
      }`
    const combiner = moduleOf(source, { timeoutMs: 60_000, limits: { memoryMb: 64, lookMs: 10 } })
    const ends = await Promise.all([run(combiner, 777), run(combiner, 1)])
    expect(ends[0]).toEqual(failed(/it holds \d+ MB in buffers, more than 64 MB/))
    expect(ends[1]).toMatchObject({ kind: 'made', outputs: { n: { data: [0] } } })
  })

  it('can not take the thread’s part of the talk: what it sends by itself changes nothing', async () => {
    const source = `
      import { parentPort } from 'node:worker_threads'
      export default function combine(answers) {
        for (const word of [null, 'x', { kind: 'ready' }, { kind: 'unloadable', why: 'x' }, { kind: 'made', id: 0, outputs: 5 }])
          parentPort.postMessage(word)
        return { outputs: { p: { datatype: 'FP32', shape: [1], data: [answers[0].outputs.p.data[0]] } } }
      }`
    const combiner = moduleOf(source)
    expect(await Promise.all([4, 5, 6].map((value) => run(combiner, value)))).toEqual([made(4), made(5), made(6)])
  })

  it.each([
    ['letters', `['x'.repeat(16_000_001)]`, /its outputs have 16000001 letters, more than 16000000/],
    ['values', `new Uint8Array(10_000_001)`, /its outputs have 10000001 values, more than 10000000/],
  ])('fails where it returns more %s than the gateway has time for', async (_what, data, why) => {
    const source = `export default () => ({ outputs: { p: { datatype: 'BYTES', shape: [1], data: ${data} } } })`
    expect(await run(moduleOf(source, { timeoutMs: 20_000 }), 1)).toEqual(failed(why))
  })

  it('works off what waits before it is retired', async () => {
    const combiner = moduleOf(largest)
    const ends = [4, 5].map((value) => run(combiner, value))
    combiner.retire()
    expect(await Promise.all(ends)).toEqual([made(4), made(5)])
  })
})
