import { setImmediate as nextTurn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { Cancellation } from '../front/cancellation.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
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
    blocking: true,
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

const POISON = -1
const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i += 1) await nextTurn()
}

interface Outcome {
  values: number[]
  shape: number[]
  outputs: readonly string[] | null
  cancellation: Cancellation
  answer: Tensors | null
  error: string | null
}

const outcomeOf = (asked: Promise<Tensors>): Promise<Pick<Outcome, 'answer' | 'error'>> =>
  asked.then(
    (answer) => ({ answer, error: null }),
    (error: Error) => ({ answer: null, error: error.message }),
  )

/** What is not as it must be: the answer of exactly this request, or an error that is its own. */
function wrongIn({ values, shape, outputs, cancellation, answer, error }: Outcome): unknown[] {
  const isPoisoned = values.includes(POISON)
  if (answer === null) {
    const isOwn = (error === 'poison' && isPoisoned) || (/taken back/.test(error!) && cancellation.reason !== null)
    return isOwn ? [] : [error]
  }
  // The second output tells rows apart by their first value.
  const first = Array.from({ length: shape[0]! }, (_, row) => `first=${values[row * shape[1]!]}`)
  const expected = { y: values.map((value) => value * 2), shape: first }
  const names = outputs ?? ['y', 'shape']
  const isRight =
    !isPoisoned &&
    isDeepStrictEqual(Object.keys(answer), names) &&
    isDeepStrictEqual(answer.y!.shape, shape) &&
    isDeepStrictEqual(numbers(answer), expected.y) &&
    isDeepStrictEqual(answer.shape?.data, names.includes('shape') ? expected.shape : undefined)
  return isRight ? [] : [answer]
}

describe('requests that come together', () => {
  it('are computed in one run, and each gets its own rows', async () => {
    const runs: number[] = []
    const queue = batcher(doubling(runs))
    const answers = await Promise.all([queue.submit(work([1])), queue.submit(work([2, 3])), queue.submit(work([4]))])
    expect(answers.map(numbers)).toEqual([[2], [4, 6], [8]])
    expect(answers.map(({ shape }) => shape!.data)).toEqual([['first=1'], ['first=2', 'first=3'], ['first=4']])
    expect(runs).toEqual([4])
  })

  it('can not be mixed up, whatever their sizes, shapes, wishes, faults and moments', async () => {
    const request = fc.record({
      rows: fc.integer({ min: 0, max: 20 }),
      width: fc.integer({ min: 1, max: 3 }),
      turn: fc.integer({ min: 0, max: 6 }),
      outputs: fc.constantFrom(null, ['y'], ['shape', 'y']),
      isPoison: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
      leavesAfter: fc.option(fc.integer({ min: 0, max: 8 }), { freq: 5 }),
    })
    const setups = fc.record({ stackable: fc.boolean(), blocking: fc.boolean(), hasDynamicAxes: fc.constant(true) })
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 40 }), setups, async (requests, setup) => {
        const runs: number[] = []
        const run: Run = async (inputs, outputs) => {
          if ((inputs.x!.data as Float32Array).includes(POISON)) throw new Error('poison')
          return doubling(runs)(inputs, outputs)
        }
        const queue = batcher(run, setup)
        const outcomes = await Promise.all(
          requests.map(async ({ rows, width, turn, outputs, isPoison, leavesAfter }, index) => {
            for (let i = 0; i < turn; i += 1) await nextTurn()
            const values = Array.from({ length: rows * width }, (_, at) => index * 100 + at)
            if (isPoison && values.length > 0) values[values.length - 1] = POISON
            const cancellation = new Cancellation()
            const x: Tensor = { datatype: 'FP32', shape: [rows, width], data: Float32Array.from(values) }
            const asked = queue.submit({ inputs: { x }, rows, outputs, deadlineMs: null, cancellation })
            if (leavesAfter !== null) void turns(leavesAfter).then(() => cancellation.cancel('client-gone'))
            return { values, shape: [rows, width], outputs, cancellation, ...(await outcomeOf(asked)) }
          }),
        )
        expect(outcomes.flatMap(wrongIn)).toEqual([])
        const rowsMax = setup.stackable ? 8 : Infinity
        expect(Math.max(0, ...runs)).toBeLessThanOrEqual(rowsMax)
        expect(queue.underWay).toBe(0)
      }),
      { seed: 20_261_123, numRuns: 300 },
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

  it('with more rows than a batch lets others have their turn after each part', async () => {
    const runs: number[] = []
    const queue = batcher(doubling(runs))
    const order: string[] = []
    const big = queue.submit(work(Array.from({ length: 20 }, (_, i) => i))).then(() => order.push('big'))
    const small = queue.submit(work([1])).then(() => order.push('small'))
    await Promise.all([big, small])
    expect(order).toEqual(['small', 'big'])
    expect(runs).toEqual([8, 1, 8, 4])
  })

  it('that its caller takes back in the middle of its parts is not computed further', async () => {
    const runs: number[] = []
    const cancellation = new Cancellation()
    const run: Run = (inputs, outputs) => {
      if (runs.length === 1) cancellation.cancel('client-gone')
      return doubling(runs)(inputs, outputs)
    }
    const big = batcher(run).submit(
      work(
        Array.from({ length: 80 }, (_, i) => i),
        1,
        { cancellation },
      ),
    )
    await expect(big).rejects.toMatchObject({ status: 503, message: expect.stringContaining('taken back') })
    expect(runs).toEqual([8, 8])
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
    const cancellation = new Cancellation()
    const gone = queue.submit(work([2], 1, { cancellation }))
    const stays = queue.submit(work([3], 1, { deadlineMs: 50 }))
    cancellation.cancel('client-gone')
    nowMs = 10
    await expect(late).rejects.toMatchObject({ status: 504 })
    await expect(gone).rejects.toMatchObject({ status: 503 })
    expect(numbers(await stays)).toEqual([6])
    expect(runs).toEqual([1])
  })
})

describe('a model in a process of its own', () => {
  it('keeps nobody waiting beyond the deadline, though its run goes on', async () => {
    let finish: () => void = () => undefined
    const run: Run = async (inputs, outputs) => {
      await new Promise<void>((resolve) => (finish = resolve))
      return doubling()(inputs, outputs)
    }
    const queue = batcher(run, { blocking: false, limits: { ...batcherLimits, maxBatchRows: 1 } })
    const deadlineMs = systemClock.monotonicMs() + 30
    const running = queue.submit(work([1], 1, { deadlineMs }))
    const waiting = queue.submit(work([2], 1, { deadlineMs }))
    const patient = queue.submit(work([3]))
    await expect(running).rejects.toMatchObject({ status: 504 })
    await expect(waiting).rejects.toMatchObject({ status: 504 })
    expect(queue.underWay).toBe(2)
    finish()
    await turns(3)
    finish()
    expect(numbers(await patient)).toEqual([6])
  })

  it('fails those of its run when it dies, without running them again', async () => {
    let runs = 0
    const queue = batcher(async () => {
      runs += 1
      throw new ProtocolError(503, "The model's process failed at this request: it died of SIGKILL")
    })
    const both = await Promise.allSettled([queue.submit(work([1])), queue.submit(work([2]))])
    expect(both).toMatchObject([
      { status: 'rejected', reason: { status: 503 } },
      { status: 'rejected', reason: { status: 503 } },
    ])
    expect(runs).toBe(1)
  })
})

describe('a model', () => {
  it('that is closed refuses what waits, and says why', async () => {
    const queue = batcher(doubling())
    const waiting = queue.submit(work([1]))
    queue.close('it was unloaded')
    await expect(waiting).rejects.toMatchObject({ status: 503, message: 'it was unloaded' })
    await expect(queue.submit(work([1]))).rejects.toMatchObject({ status: 503, message: 'it was unloaded' })
  })

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
