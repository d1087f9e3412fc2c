import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { FED_HEADER, FEED_HEADER } from '../../kernel/contract/fed.ts'
import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { PlacedTable } from '../../kernel/features/feature-source.ts'
import { parseInferRequest } from '../../kernel/protocol/inference.ts'
import { LARGE_JSON_BYTES } from '../../kernel/protocol/large-request.ts'
import { writeTable } from '../../testing/feature-tables.ts'
import * as onnx from '../../testing/onnx-builder.ts'
import { Cancellation } from '../front/cancellation.ts'
import type { InferAnswer, InferCall } from '../front/data-plane.ts'
import { fedOf, withFed } from '../gateway/fed-answer.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServer } from './model-server.ts'
import { ServerPlane } from './server-plane.ts'

const folder = mkdtempSync(join(tmpdir(), 'mr-enriched-'))
afterAll(() => rmSync(folder, { recursive: true }))

const opened: ModelServer[] = []
afterEach(async () => {
  for (const models of opened.splice(0)) await models.close()
})

const declared = { table: 't.parquet', key: { column: 'id' }, columns: ['b'], stalenessMs: null } as const
let count = 0

/** 10a + b + 0.5 */
async function load(models: ModelServer, version: string, sql: string, change: Partial<PlacedTable> = {}) {
  const at = join(folder, `${(count += 1)}`)
  await writeTable(`${at}.parquet`, sql)
  const path = onnx.writeModel(`${at}.onnx`, onnx.linearModel({ weights: [10, 1], bias: 0.5 }))
  const digest = `sha256:${createHash('sha256')
    .update(readFileSync(`${at}.parquet`))
    .digest('hex')}`
  const policies = { missing: 'error', stale: 'error', asOfMs: 0 } as const
  const table: PlacedTable = { ...declared, columns: ['b'], ...policies, path: `${at}.parquet`, digest, ...change }
  return models.load({ model: 'm', version, path, digest: null, features: ['a', 'b'], tables: [table] })
}

function server(): { models: ModelServer; plane: ServerPlane } {
  const models = createModelServer({ isolate: 'never' })
  opened.push(models)
  return { models, plane: new ServerPlane({ models, server: { name: 'millrace', version: '9' } }) }
}

const call = (ids: number[], change: Partial<InferCall> = {}): InferCall => {
  const x = { name: 'x', datatype: 'FP32', shape: [ids.length, 1], data: ids.map((_, i) => i + 1) }
  const key = { name: 'id', datatype: 'INT64', shape: [ids.length], data: ids }
  const body = Buffer.from(JSON.stringify({ inputs: [x, key] }))
  const facts = { name: 'm', version: null, headers: {}, jsonBytes: null, caller: 'test' }
  return { ...facts, body, cancellation: new Cancellation(), ...change }
}
const scores = (answer: InferAnswer | null) =>
  (JSON.parse(answer!.body.toString()) as { outputs: { data: number[] }[] }).outputs[0]!.data

describe('a model server with a table', () => {
  it('finds the rows of a request that is large by its key, too', async () => {
    const { models, plane } = server()
    await load(models, '1', `select range as id, range * 1.0 as b from range(40000)`)
    const ids = Array.from({ length: 40_000 }, (_, i) => i)
    const asked = call(ids)
    expect(asked.body.length).toBeGreaterThan(LARGE_JSON_BYTES)
    const answer = await plane.infer(asked)
    expect(scores(answer).slice(0, 2)).toEqual([10.5, 21.5])
  })

  it('computes with what it says, and each version with its own', async () => {
    const { models, plane } = server()
    await load(models, '1', `select i as id, i as b from range(10) r(i)`)
    await load(models, '2', `select i as id, -i as b from range(10) r(i)`)
    expect(scores(await plane.infer(call([3, 4], { version: '1' })))).toEqual([13.5, 24.5])
    expect(scores(await plane.infer(call([3, 4], { version: '2' })))).toEqual([7.5, 16.5])
  })

  it('never mixes up the rows of requests that are computed together', async () => {
    const { models, plane } = server()
    await load(models, '1', `select i as id, i as b from range(1000) r(i)`)
    const asked = Array.from({ length: 200 }, (_, i) => [i, 999 - i])
    const answers = await Promise.all(asked.map((ids) => plane.infer(call(ids))))
    expect(answers.map(scores)).toEqual(asked.map(([first, second]) => [10.5 + first!, 20.5 + second!]))
  })

  it('tells callers what to send', async () => {
    const { models, plane } = server()
    await load(models, '1', `select 1 as id, 1 as b`)
    expect(plane.describe('m', null).signature.inputs).toEqual([
      { name: 'x', datatype: 'FP32', shape: [-1, 1], columns: ['a'] },
      { name: 'id', datatype: 'INT64', shape: [-1], columns: ['id'] },
    ])
  })

  it('tells a gateway that asks what it fed the model, and nobody else', async () => {
    const { models, plane } = server()
    const { signature } = await load(models, '1', `select i as id, i as b from range(10) r(i)`)
    const plain = await plane.infer(call([3]))
    expect(plain!.headers).not.toContain(FED_HEADER)
    const asked = (await plane.infer(call([3], { headers: { [FEED_HEADER]: '1' } })))!
    const headers = new Map([[FED_HEADER, asked.headers[asked.headers.indexOf(FED_HEADER) + 1]!]])
    const outcome = withFed({ signature } as RoutedDeployment, { kind: 'answer', answer: { ...asked, headers } })
    if (outcome.kind !== 'answer') throw new Error('it was not answered')
    expect(outcome.answer.body).toEqual(plain!.body)
    const { fed, fedJsonBytes } = fedOf(outcome.answer)
    const { inputs } = parseInferRequest(
      fed!,
      { inputs: [...signature.inputs, ...signature.enriched!.keys], outputs: [] },
      { jsonBytes: fedJsonBytes },
    )
    expect(inputs['x']!.data).toEqual(Float32Array.of(1, 3))
    expect(inputs['id']!.data).toEqual(BigInt64Array.of(3n))
  })

  it('is not ready with a table that was changed', async () => {
    const { models } = server()
    await expect(load(models, '1', `select 1 as id, 1 as b`, { digest: 'sha256:00' })).rejects.toThrow(/was registered/)
    expect(models.isReady).toBe(false)
  })
})
