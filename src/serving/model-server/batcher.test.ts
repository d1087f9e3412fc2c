import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.ts'
import { elementCount } from '../../kernel/model/tensor.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { batcherLimits, createBatcher } from './batcher.ts'
import type { BatcherSetup, Run, Tensors, Work } from './batcher.ts'

/** Doubles every value, and counts its runs. */
function doubling(runs: number[] = []): Run {
  return async ({ x }) => {
    runs.push(x!.shape[0]!)
    await nextTurn()
    return { y: { ...x!, data: (x!.data as Float32Array).map((value) => value * 2) }, shape: shapes(x!) }
  }
}
/** A second output, of another type and width: one text per row. */
const shapes = (x: Tensor): Tensor => ({
  datatype: 'BYTES',
  shape: [x.shape[0]!],
  data: Array.from(
    { length: x.shape[0]! },
    (_, row) => `first=${(x.data as Float32Array)[row * (x.data.length / x.shape[0]!)]}`,
  ),
})

const batcher = (run: Run, change: Partial<BatcherSetup> = {}) =>
  createBatcher({
    run,
    stackable: true,
    hasDynamicAxes: false,
    limits: { ...batcherLimits, maxBatchRows: 8 },
    clock: systemClock,
    ...change,
  })

const work = (values: number[], width = 1, change: Partial<Work> = {}): Work => {
  const shape = [values.length / width, width]
  return {
    inputs: { x: { datatype: 'FP32', shape, data: Float32Array.from(values) } },
    rows: shape[0]!,
    outputs: null,
    deadlineMs: null,
    ...change,
  }
}
const numbers = (outputs: Tensors): number[] => [...(outputs.y!.data as Float32Array)]

describe('requests that come together', () => {
  it('are computed in one run, and each gets its own rows', async () => {
    const runs: number[] = []
    const queue = batcher(doubling(runs))
    const answers = await Promise.all([queue.submit(work([1])), queue.submit(work([2, 3])), queue.submit(work([4]))])
    expect(answers.map(numbers)).toEqual([[2], [4, 6], [8]])
    expect(answers.map(({ shape }) => shape!.data)).toEqual([['first=1'], ['first=2', 'first=3'], ['first=4']])
    expect(runs).toEqual([4])
  })

  it('can not be mixed up, whatever their sizes, shapes, wishes and moments', async () => {
    const request = fc.record({
      rows: fc.integer({ min: 0, max: 12 }),
      width: fc.integer({ min: 1, max: 3 }),
      turn: fc.integer({ min: 0, max: 6 }),
      outputs: fc.constantFrom(null, ['y'], ['shape', 'y']),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 1, maxLength: 40 }),
        fc.boolean(),
        async (requests, stackable) => {
          const runs: number[] = []
          const queue = batcher(doubling(runs), { hasDynamicAxes: true, stackable })
          const answers = await Promise.all(
            requests.map(async ({ rows, width, turn, outputs }, index) => {
              for (let i = 0; i < turn; i += 1) await nextTurn()
              const values = Array.from({ length: rows * width }, (_, at) => index * 100 + at)
              const shape = [rows, width]
              const x: Tensor = { datatype: 'FP32', shape, data: Float32Array.from(values) }
              return {
                values,
                shape,
                outputs,
                answer: await queue.submit({ inputs: { x }, rows, outputs, deadlineMs: null }),
              }
            }),
          )
          for (const { values, shape, outputs, answer } of answers) {
            expect(answer.y!.shape).toEqual(shape)
            expect(numbers(answer)).toEqual(values.map((value) => value * 2))
            expect(Object.keys(answer)).toEqual(outputs ?? ['y', 'shape'])
            expect(elementCount(answer.y!.shape)).toBe(values.length)
          }
          // Never more rows than allowed; without stacking, a run for each.
          expect(stackable ? Math.max(...runs) <= 8 : runs.length === requests.length).toBe(true)
        },
      ),
      { numRuns: 200 },
    )
  })

  it('are stacked only when their inner axes are equal', async () => {
    const runs: number[] = []
    const queue = batcher(doubling(runs), { hasDynamicAxes: true })
    await Promise.all([
      queue.submit(work([1, 2], 2)),
      queue.submit(work([1])),
      queue.submit(work([3, 4], 2)),
      queue.submit(work([5])),
    ])
    expect(runs).toEqual([2, 2])
  })

  it('run one by one where the model allows no other', async () => {
    const runs: number[] = []
    const queue = batcher(doubling(runs), { stackable: false })
    await Promise.all([queue.submit(work([1])), queue.submit(work([2]))])
    expect(runs).toEqual([1, 1])
  })

  it('are computed for the outputs that any of them wants', async () => {
    const asked: unknown[] = []
    const run: Run = (inputs, outputs) => {
      asked.push(outputs)
      return doubling()(inputs, outputs)
    }
    const queue = batcher(run)
    await Promise.all([queue.submit(work([1], 1, { outputs: ['y'] })), queue.submit(work([2], 1, { outputs: ['y'] }))])
    await Promise.all([queue.submit(work([1], 1, { outputs: ['y'] })), queue.submit(work([2]))])
    expect(asked).toEqual([['y'], undefined])
  })
})

describe('a request', () => {
  it('with more rows than a batch is computed in parts', async () => {
    const runs: number[] = []
    const values = Array.from({ length: 19 }, (_, i) => i)
    const answer = await batcher(doubling(runs)).submit(work(values))
    expect(numbers(answer)).toEqual(values.map((value) => value * 2))
    expect(answer.shape!.data).toHaveLength(19)
    expect(runs).toEqual([8, 8, 3])
  })

  it('that fails does not take its neighbours with it', async () => {
    const run: Run = async (inputs, outputs) => {
      if ((inputs.x!.data as Float32Array).includes(13)) throw new Error('13 is not for me')
      return doubling()(inputs, outputs)
    }
    const queue = batcher(run)
    const answers = await Promise.allSettled([
      queue.submit(work([1])),
      queue.submit(work([13])),
      queue.submit(work([2])),
    ])
    expect(
      answers.map((answer) => (answer.status === 'fulfilled' ? numbers(answer.value) : answer.reason.message)),
    ).toEqual([[2], '13 is not for me', [4]])
  })

  it('is refused when too many wait', async () => {
    const queue = batcher(doubling(), { limits: { ...batcherLimits, maxQueued: 2 } })
    const waiting = [queue.submit(work([1])), queue.submit(work([2]))]
    await expect(queue.submit(work([3]))).rejects.toMatchObject({
      status: 503,
      message: expect.stringContaining('2 requests wait already'),
    })
    await Promise.all(waiting)
    expect(numbers(await queue.submit(work([4])))).toEqual([8])
  })

  it('is not computed once its time is over or its client has left', async () => {
    const runs: number[] = []
    let nowMs = 0
    const queue = batcher(doubling(runs), { clock: { ...systemClock, monotonicMs: () => nowMs } })
    const late = queue.submit(work([1], 1, { deadlineMs: 5 }))
    const left = work([2])
    const gone = queue.submit(left)
    const stays = queue.submit(work([3], 1, { deadlineMs: 50 }))
    left.abandoned = true
    nowMs = 10
    await expect(late).rejects.toMatchObject({ status: 503 })
    await expect(gone).rejects.toMatchObject({ status: 503 })
    expect(numbers(await stays)).toEqual([6])
    expect(runs).toEqual([1])
  })
})

describe('a model', () => {
  it('that answers with other rows than it was given is not batched any more', async () => {
    const runs: number[] = []
    const oneRow: Run = async ({ x }) => {
      runs.push(x!.shape[0]!)
      return { y: { datatype: 'FP32', shape: [1], data: Float32Array.of((x!.data as Float32Array)[0]!) } }
    }
    const queue = batcher(oneRow)
    const answers = await Promise.all([queue.submit(work([5])), queue.submit(work([6]))])
    expect(answers.map(numbers)).toEqual([[5], [6]])
    await Promise.all([queue.submit(work([7])), queue.submit(work([8]))])
    expect(runs).toEqual([2, 1, 1, 1, 1])
  })

  it('that is slow gets smaller batches, so that others have their turn', async () => {
    const runs: number[] = []
    let nowMs = 0
    const slow: Run = (inputs, outputs) => {
      nowMs += inputs.x!.shape[0]! * 25
      return doubling(runs)(inputs, outputs)
    }
    const queue = batcher(slow, { clock: { ...systemClock, monotonicMs: () => nowMs } })
    for (let round = 0; round < 2; round += 1)
      await Promise.all(Array.from({ length: 8 }, (_, i) => queue.submit(work([i]))))
    expect(runs).toEqual([8, 2, 2, 2, 2])
  })
})
