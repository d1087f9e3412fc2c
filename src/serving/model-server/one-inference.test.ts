import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Signature } from '../../kernel/model/signature.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { encodeInferAnswer, ProtocolError } from '../../kernel/protocol/inference.ts'
import { fakeClock } from '../../testing/fake-clock.ts'
import { Cancellation } from '../front/cancellation.ts'
import type { InferAnswer, InferCall } from '../front/data-plane.ts'
import type { Waiter, Work } from './batcher.ts'
import type { LoadedModel } from './loaded-model.ts'
import { OneInference } from './one-inference.ts'
import { InferenceTotals } from './statistics.ts'

const signature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1], columns: ['x'] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1], columns: null }],
}

/** A model that takes requests and answers when it is told to. */
function given(values: number, rest: Partial<InferCall> = {}) {
  const clock = fakeClock()
  const queued: { work: Work; waiter: Waiter }[] = []
  const totals = new InferenceTotals()
  const enqueue = (work: Work, waiter: Waiter): void => void queued.push({ work, waiter })
  const known = {
    model: 'm',
    version: '1',
    signature,
    enricher: null,
    preparer: null,
    jsonHeaders: [],
    binaryHeaders: [],
  }
  const loaded = { ...known, totals, enqueue } as unknown as LoadedModel
  const data = Array.from({ length: values }, (_, i) => i / 7)
  const json = { id: 'a', inputs: [{ name: 'x', datatype: 'FP32', shape: [values], data }] }
  const call: InferCall = {
    name: 'm',
    version: null,
    headers: {},
    body: Buffer.from(JSON.stringify(json)),
    jsonBytes: null,
    caller: 'a',
    cancellation: new Cancellation(),
    ...rest,
  }
  const ends: (InferAnswer | null | ProtocolError)[] = []
  const one = new OneInference(
    loaded,
    call,
    clock,
    (answer) => ends.push(answer),
    (error) => ends.push(error as ProtocolError),
  )
  const until = async (isSo: () => boolean): Promise<number> => {
    for (let turns = 0; ; turns += 1) {
      if (isSo()) return turns
      await nextTurn()
    }
  }
  return { one, call, clock, queued, ends, totals, data: Float32Array.from(data), until }
}

describe('a request with much JSON', () => {
  it('is read over many turns of the event loop, a small one at once', async () => {
    const small = given(10)
    small.one.begin()
    expect(small.queued).toHaveLength(1)
    const { one, queued, data, until } = given(300_000)
    one.begin()
    expect(queued).toHaveLength(0)
    expect(await until(() => queued.length > 0)).toBeGreaterThan(4)
    expect(queued[0]!.work).toMatchObject({ rows: 300_000 })
    expect(queued[0]!.work.inputs['x']!.data).toEqual(data)
  })

  it('is answered over many turns, byte for byte as any other', async () => {
    const { one, queued, ends, data, totals, until } = given(300_000)
    one.begin()
    await until(() => queued.length > 0)
    const outputs: Record<string, Tensor> = { y: { datatype: 'FP32', shape: [300_000], data } }
    queued[0]!.waiter.resolve(outputs)
    expect(ends).toEqual([])
    expect(await until(() => ends.length > 0)).toBeGreaterThan(4)
    const whole = encodeInferAnswer({ modelName: 'm', modelVersion: '1', id: 'a', outputs })
    expect((ends[0] as InferAnswer).body.equals(whole.body)).toBe(true)
    expect(totals.statistics('m', '1', 0).success.count).toBe(1)
  })

  it('is refused with what is wrong, and counted as failed', async () => {
    const { one, call, ends, totals, until } = given(100_000)
    call.body.write('x', call.body.length - 10)
    one.begin()
    await until(() => ends.length > 0)
    expect(ends).toMatchObject([{ status: 400 }])
    expect(totals.statistics('m', '1', 0).fail.count).toBe(1)
  })

  it('is not read on when its client has left, nor when its time is over', async () => {
    const left = given(300_000)
    left.one.begin()
    left.call.cancellation.cancel('client-gone')
    await left.until(() => left.ends.length > 0)
    expect(left.ends).toEqual([null])
    const late = given(300_000, { timeoutMs: 100 })
    late.one.begin()
    late.clock.advance(100)
    await late.until(() => late.ends.length > 0)
    expect(late.ends).toMatchObject([{ status: 504 }])
    expect([...left.queued, ...late.queued]).toEqual([])
  })

  it('is not written on when its client has left', async () => {
    const { one, call, queued, ends, data, until } = given(300_000)
    one.begin()
    await until(() => queued.length > 0)
    queued[0]!.waiter.resolve({ y: { datatype: 'FP32', shape: [300_000], data } })
    call.cancellation.cancel('client-gone')
    await until(() => ends.length > 0)
    expect(ends).toEqual([null])
  })

  it('that is told of its end while its answer is written hears of nothing else', async () => {
    const { one, queued, ends, data, until } = given(300_000)
    one.begin()
    await until(() => queued.length > 0)
    queued[0]!.waiter.resolve({ y: { datatype: 'FP32', shape: [300_000], data } })
    queued[0]!.waiter.reject(new ProtocolError(504, 'late'))
    for (let turn = 0; turn < 200; turn += 1) await nextTurn()
    expect(ends).toMatchObject([{ status: 504 }])
  })
})
