import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as onnx from '../../../testing/onnx-builder.ts'
import { openServingLab } from '../../../testing/serving-lab.ts'
import type { ServingLab } from '../../../testing/serving-lab.ts'

/* Tensors of some megabytes as JSON, at a model server alone and through a gateway. */

let lab: ServingLab
beforeAll(async () => {
  lab = await openServingLab({
    rows: onnx.linearModel({ weights: [1, 2], bias: 0.5 }),
    long: onnx.identityModel('int64', ['N']),
    text: onnx.identityModel('string', ['N']),
  })
})
afterAll(() => lab?.close())

const COUNT = 40_000 // more than 256 kB each, and little enough for a busy machine

describe.each(['modelServer', 'gateway'] as const)('large JSON at the %s', (who) => {
  const post = (model: string, body: string) =>
    fetch(`http://127.0.0.1:${lab[who]}/v2/models/${model}/infer`, { method: 'POST', body })
  const ask = async (model: string, datatype: string, shape: number[], data: string): Promise<string> => {
    const input = `{"name":"x","datatype":"${datatype}","shape":[${shape.join(',')}],"data":${data}}`
    const answer = await post(model, `{"id":"a","inputs":[${input}]}`)
    expect(answer.status).toBe(200)
    return answer.text()
  }

  it('is computed row by row, whether it is nested or flat', async () => {
    const rows = Array.from({ length: COUNT }, (_, row) => [row / 8, 1])
    const wanted = rows.map(([x]) => Math.fround(x! + 2.5))
    for (const data of [rows, rows.flat()]) {
      const text = await ask('rows', 'FP32', [COUNT, 2], JSON.stringify(data))
      const { outputs, id } = JSON.parse(text) as { outputs: { data: number[] }[]; id: string }
      expect(id).toBe('a')
      expect(outputs[0]!.data).toEqual(wanted)
    }
  })

  it('keeps all digits of 64-bit integers, there and back', async () => {
    const values = Array.from({ length: COUNT }, (_, i) => String(9_007_199_254_740_993n + BigInt(i)))
    expect(await ask('long', 'INT64', [COUNT], `[${values.join(',')}]`)).toContain(`"data":[${values.join(',')}]`)
  })

  it('keeps texts as they are, there and back', async () => {
    const values = JSON.stringify(Array.from({ length: 15_000 }, (_, i) => `${i}: [é], "\u{1F600}"`))
    expect(await ask('text', 'BYTES', [15_000], values)).toContain(`"data":${values}`)
  })

  it('is refused with the value that is wrong', async () => {
    const data = JSON.stringify(Array.from({ length: 2 * COUNT }, (_, i) => (i === 60_001 ? 'a' : i)))
    const answer = await post('rows', `{"inputs":[{"name":"x","datatype":"FP32","shape":[${COUNT},2],"data":${data}}]}`)
    expect([answer.status, await answer.json()]).toEqual([
      400,
      { error: `Input 'x': value 60001 is "a", which is not a number that FP32 can hold` },
    ])
  })
})
