import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { encodeInferRequest, parseInferResponse } from '../../kernel/protocol/inference.ts'
import { framedUpstreamLimits, framedUpstreams } from '../gateway/upstream/framed.ts'
import { identityModel, writeModel } from '../../testing/onnx-builder.ts'
import { createFramesPort } from './frames-port.ts'
import { createModelServer } from './model-server.ts'
import type { Isolate } from './decide-isolation.ts'
import { ServerPlane } from './server-plane.ts'

const folder = mkdtempSync(join(tmpdir(), 'mr-crowd-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface Asked {
  rows: number
  width: number
  pauseMs: number
  /** Gives up after so long; null: waits. */
  leavesAfterMs: number | null
  isBad: boolean
}

const asked: fc.Arbitrary<Asked> = fc.record({
  rows: fc.integer({ min: 0, max: 90 }),
  width: fc.integer({ min: 1, max: 4 }),
  pauseMs: fc.integer({ min: 0, max: 1 }),
  leavesAfterMs: fc.option(fc.integer({ min: 0, max: 4 }), { freq: 6 }),
  isBad: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
})

/** From a gateway's end of the frames to the runtime and back: what comes must be what was sent, or nobody's. */
it.each<[Isolate, number]>([
  ['never', 60],
  ['always', 20],
])('each of a crowd gets the answer to its own request (a process of its own: %s)', async (isolate, numRuns) => {
  const models = createModelServer({ isolate, limits: { maxBatchRows: 32 } })
  const path = writeModel(join(folder, `${isolate}.onnx`), identityModel('float', ['N', 'K']))
  const loaded = await models.load({ model: 'm', version: '1', path, digest: null, features: null })
  const port = createFramesPort({ plane: new ServerPlane({ models, server: { name: '', version: '' } }) })
  const framesPath = join(folder, `${isolate}.frames`)
  await port.listen(framesPath)
  // Half of the requests are large for these limits, and take the other connection.
  const upstream = framedUpstreams({ ...framedUpstreamLimits, bulkBytes: 300 })({
    replicaId: 'r',
    socketPath: '',
    framesPath,
  })
  const name = loaded.signature.inputs[0]!.name
  const ask = async ({ rows, width, pauseMs, leavesAfterMs, isBad }: Asked, index: number): Promise<string | null> => {
    const data = Float32Array.from({ length: rows * width }, (_, at) => index * 1_000 + at)
    const inputs = { [name]: { datatype: 'FP32' as const, shape: [rows, width], data } }
    const body = Buffer.from(isBad ? `{"id":"${index}"` : encodeInferRequest({ id: String(index), inputs }))
    await sleep(pauseMs)
    const call = upstream.call({ model: 'm', version: '1', body, jsonBytes: null, headers: [] })
    if (leavesAfterMs !== null) void sleep(leavesAfterMs).then(() => call.abort())
    const outcome = await call.answer.catch((error: { fault: string }) => error.fault)
    if (typeof outcome === 'string') return outcome === 'aborted' && leavesAfterMs !== null ? null : outcome
    if (isBad) return outcome.status === 400 ? null : `${outcome.status} to a bad request`
    const { id, outputs } = parseInferResponse(outcome.body)
    const [output] = Object.values(outputs)
    const isOwn =
      id === String(index) &&
      output?.shape.join() === `${rows},${width}` &&
      output.data.every((value, at) => value === data[at])
    return isOwn ? null : `${index} got ${id} ${output?.shape.join('x')}`
  }
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 60 }), async (crowd) => {
      const wrong = await Promise.all(crowd.map(ask))
      expect(wrong.filter((why) => why !== null)).toEqual([])
    }),
    { seed: 20_261_123, numRuns },
  )
  for (let waited = 0; port.underWay > 0 && waited < 2_000; waited += 5) await sleep(5)
  expect(port.underWay).toBe(0)
  expect(loaded.underWay).toBe(0)
  upstream.close()
  await port.close()
  await models.close()
})
