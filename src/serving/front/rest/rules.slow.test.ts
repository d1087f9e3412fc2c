import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { protocolModels } from '../../../testing/protocol-models.ts'
import { call, openServingLab } from '../../../testing/serving-lab.ts'
import type { Reply, ServingLab } from '../../../testing/serving-lab.ts'

/*
 * What every POST …/infer of the Open Inference Protocol must do, rule by rule, as clients see it: at a model server
 * alone, and at a gateway in front of it.
 */

let lab: ServingLab
beforeAll(async () => {
  lab = await openServingLab(protocolModels())
})
afterAll(() => lab?.close())

interface Tensor {
  name: string
  datatype: string
  shape: number[]
  data?: unknown
  parameters?: { binary_data_size?: number }
}

const json = (name: string, datatype: string, shape: unknown[], data: unknown) => ({ name, datatype, shape, data })
const binary = (name: string, datatype: string, shape: number[], bytes: Buffer, size = bytes.length) => ({
  name,
  datatype,
  shape,
  parameters: { binary_data_size: size },
})

const float32 = (...values: number[]): Buffer => Buffer.from(new Float32Array(values).buffer)
const int64 = (...values: bigint[]): Buffer => Buffer.from(new BigInt64Array(values).buffer)
const texts = (...values: string[]): Buffer =>
  Buffer.concat(
    values.map((value) => {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(Buffer.byteLength(value))
      return Buffer.concat([length, Buffer.from(value)])
    }),
  )

/** The JSON of an answer, and the bytes of its tensors in the order of its outputs. */
function opened({ body, headers }: Reply): { json: { outputs: Tensor[] }; bytes: Buffer[] } {
  const length = headers['inference-header-content-length']
  const jsonBytes = length === undefined ? body.length : Number(length)
  const answer = JSON.parse(body.toString('utf8', 0, jsonBytes)) as { outputs: Tensor[] }
  let at = jsonBytes
  const bytes = answer.outputs.flatMap(({ parameters }) => {
    const size = parameters?.binary_data_size
    if (size === undefined) return []
    at += size
    return [body.subarray(at - size, at)]
  })
  expect(at).toBe(body.length)
  return { json: answer, bytes }
}

/** An error as every v2 client reads it. */
const refusal = (status: number, text: string | RegExp): Reply => ({
  status,
  headers: expect.objectContaining({ 'content-type': 'application/json' }),
  body: expect.any(Buffer),
  json: { error: expect.stringMatching(text) },
})

describe.each(['modelServer', 'gateway'] as const)('at the %s, an infer request', (place) => {
  const infer = (model: string, body: unknown, headers: Record<string, string> = {}): Promise<Reply> => {
    const bytes = Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body)
    return call(lab[place], 'POST', `/v2/models/${model}/infer`, { body: bytes, headers })
  }
  /** JSON with tensors behind it, as tritonclient sends them. */
  const inferBinary = (model: string, head: unknown, ...tensors: Buffer[]): Promise<Reply> => {
    const text = Buffer.from(JSON.stringify(head))
    const headers = { 'inference-header-content-length': String(text.length) }
    return infer(model, Buffer.concat([text, ...tensors]), headers)
  }
  const dataOf = (reply: Reply): unknown => {
    expect([reply.status, reply.json['error']]).toEqual([200, undefined])
    return (reply.json['outputs'] as Tensor[])[0]?.data
  }
  it('1: needs no Content-Type, and minds none', async () => {
    const asked = { inputs: [json('x', 'FP32', [1, 2], [1, 2])] }
    for (const headers of [
      undefined,
      { 'content-type': 'text/plain' },
      { 'content-type': 'application/json; charset=utf-8' },
    ]) {
      const reply = await infer('linear', asked, headers)
      expect(dataOf(reply)).toEqual([5.5])
      expect(reply.headers['content-type']).toBe('application/json')
    }
  })

  it('2: is read as a whole before it is decided how to answer: parameters come after the inputs', async () => {
    const bytes = float32(1, 2, 3, 4)
    const inputs = [binary('x', 'FP32', [2, 2], bytes)]
    const reply = await inferBinary('linear', { inputs, parameters: { binary_data_output: true } }, bytes)
    expect(reply.headers['content-type']).toBe('application/octet-stream')
    expect(opened(reply)).toMatchObject({
      json: { model_name: 'linear', outputs: [{ name: 'y', datatype: 'FP32', shape: [2, 1] }] },
      bytes: [float32(5.5, 11.5)],
    })
  })

  describe('3: Inference-Header-Content-Length', () => {
    it('is the length of the JSON; tensors follow in the order of the inputs', async () => {
      const [a, b] = [float32(1, 2), int64(-5n, 2n ** 60n)]
      const inputs = [binary('b', 'INT64', [2], b), binary('a', 'FP32', [2], a)]
      const reply = await inferBinary('pair', { inputs, parameters: { binary_data_output: true } }, b, a)
      const { json: head, bytes } = opened(reply)
      expect(head.outputs.map(({ name }) => name)).toEqual(['c', 'd'])
      expect(bytes).toEqual([a, b])
    })

    it('may stand with JSON alone, and with some inputs as JSON', async () => {
      const all = { inputs: [json('x', 'FP32', [1, 2], [1, 2])] }
      expect(dataOf(await inferBinary('linear', all))).toEqual([5.5])
      const mixed = { inputs: [json('a', 'FP32', [1], [7]), binary('b', 'INT64', [1], int64(9n))] }
      const { outputs } = (await inferBinary('pair', mixed, int64(9n))).json
      expect(outputs).toMatchObject([{ data: [7] }, { data: [9] }])
    })

    it('BYTES are a length and bytes each, BOOL is one byte', async () => {
      const words = texts('', 'zwölf', '日本')
      const inputs = [binary('x', 'BYTES', [3], words)]
      const reply = await inferBinary('text', { inputs, parameters: { binary_data_output: true } }, words)
      expect(opened(reply).bytes).toEqual([words])
      const flags = Buffer.from([1, 0, 1])
      const asked = { inputs: [binary('x', 'BOOL', [3], flags)], parameters: { binary_data_output: true } }
      expect(opened(await inferBinary('flag', asked, flags)).bytes).toEqual([flags])
    })

    it('0 is a raw request, whose only tensor is the whole body', async () => {
      const reply = await infer('matrix', float32(1, 2, 3, 4), { 'inference-header-content-length': '0' })
      expect(reply.status).toBe(200)
      const { json: head, bytes } = opened(reply)
      expect(head.outputs).toMatchObject([{ name: 'y', shape: [2, 2] }])
      expect(bytes.length === 1 ? bytes[0] : float32(...(head.outputs[0]!.data as number[]))).toEqual(
        float32(1, 2, 3, 4),
      )
      const refused = await infer('pair', float32(1, 2), { 'inference-header-content-length': '0' })
      expect(refused).toEqual(refusal(400, /raw|one input/i))
    })

    it.each(['1000', '-1', 'ten', '1e1', ''])('%j is refused', async (length) => {
      const asked = JSON.stringify({ inputs: [json('x', 'FP32', [1, 2], [1, 2])] })
      expect(await infer('linear', asked, { 'inference-header-content-length': length })).toEqual(
        refusal(400, 'Inference-Header'),
      )
    })
  })

  describe('4: binary_data_size', () => {
    it('may be 0, for no rows', async () => {
      const inputs = [binary('x', 'FP32', [0, 2], Buffer.alloc(0))]
      const reply = await inferBinary('linear', { inputs, parameters: { binary_data_output: true } })
      expect(reply.status).toBe(200)
      expect(opened(reply)).toMatchObject({ json: { outputs: [{ shape: [0, 1] }] }, bytes: [Buffer.alloc(0)] })
    })

    it('stands instead of data: one of them, not both and not neither', async () => {
      const bytes = float32(1, 2)
      const both = { ...binary('x', 'FP32', [1, 2], bytes), data: [1, 2] }
      expect(await inferBinary('linear', { inputs: [both] }, bytes)).toEqual(refusal(400, `'x'`))
      const neither = { name: 'x', datatype: 'FP32', shape: [1, 2] }
      expect(await infer('linear', { inputs: [neither] })).toEqual(refusal(400, `'x'`))
    })

    it('must fit the shape, and leave nothing over and nothing short', async () => {
      const bytes = float32(1, 2)
      const inputs = [binary('x', 'FP32', [1, 2], bytes)]
      expect((await inferBinary('linear', { inputs }, bytes)).status).toBe(200)
      expect(await inferBinary('linear', { inputs }, bytes, Buffer.alloc(1))).toEqual(refusal(400, /1 byte/))
      expect(await inferBinary('linear', { inputs }, bytes.subarray(1))).toEqual(refusal(400, /bytes/))
      const small = [binary('x', 'FP32', [1, 2], bytes, 4)]
      expect(await inferBinary('linear', { inputs: small }, bytes.subarray(4))).toEqual(refusal(400, /bytes/))
      for (const size of [-4, 1.5, 1e300]) {
        const wrong = [{ ...json('x', 'FP32', [1, 2], undefined), parameters: { binary_data_size: size } }]
        expect(await inferBinary('linear', { inputs: wrong }, bytes)).toEqual(refusal(400, 'binary_data_size'))
      }
    })
  })

  describe('5: outputs', () => {
    const inputs = [json('a', 'FP32', [1], [1]), json('b', 'INT64', [1], [2])]
    const forms = async (asked: object): Promise<string[]> => {
      const reply = await infer('pair', { inputs, ...asked })
      expect(reply.status).toBe(200)
      const { outputs } = opened(reply).json
      const isBinary = outputs.some(({ parameters }) => parameters?.binary_data_size !== undefined)
      expect(reply.headers['content-type']).toBe(isBinary ? 'application/octet-stream' : 'application/json')
      expect(reply.headers['inference-header-content-length'] !== undefined).toBe(isBinary)
      return outputs.map(({ name, data }) => `${name} ${data === undefined ? 'binary' : 'json'}`)
    }

    it('are JSON unless asked otherwise', async () => {
      expect(await forms({})).toEqual(['c json', 'd json'])
      expect(await forms({ outputs: [{ name: 'd' }] })).toEqual(['d json'])
      expect(await forms({ outputs: [] })).toEqual(['c json', 'd json'])
    })

    it('are as the request says, and as each output says before that', async () => {
      const parameters = { binary_data_output: true }
      expect(await forms({ parameters })).toEqual(['c binary', 'd binary'])
      expect(await forms({ parameters, outputs: [{ name: 'c' }] })).toEqual(['c binary'])
      const d = { name: 'd', parameters: { binary_data: false } }
      expect(await forms({ parameters, outputs: [{ name: 'c' }, d] })).toEqual(['c binary', 'd json'])
      const c = { name: 'c', parameters: { binary_data: true } }
      expect(await forms({ outputs: [{ name: 'd' }, c] })).toEqual(['d json', 'c binary'])
    })
  })

  describe('6: packed', () => {
    const rows = Array.from({ length: 3_000 }, (_, row) => row)
    const asked = { inputs: [json('x', 'FP32', [rows.length], rows)] }
    const packs = { gzip: gzipSync, deflate: deflateSync }
    const unpacks = { gzip: gunzipSync, deflate: inflateSync }

    it.each(['gzip', 'deflate'] as const)(
      'by %s is unpacked, and answered so where that is accepted',
      async (coding) => {
        const body = packs[coding](JSON.stringify(asked))
        const plain = await infer('vector', body, { 'content-encoding': coding })
        expect(plain.headers['content-encoding']).toBeUndefined()
        expect(dataOf(plain)).toEqual(rows)
        const packed = await infer('vector', body, { 'content-encoding': coding, 'accept-encoding': coding })
        expect(packed.headers['content-encoding']).toBe(coding)
        expect(packed.body.length).toBeLessThan(plain.body.length)
        expect(unpacks[coding](packed.body)).toEqual(plain.body)
      },
    )

    it.each(['gzip', 'deflate'] as const)('by %s the length of the JSON stays that before packing', async (coding) => {
      const bytes = float32(...rows)
      const head = Buffer.from(
        JSON.stringify({
          inputs: [binary('x', 'FP32', [rows.length], bytes)],
          parameters: { binary_data_output: true },
        }),
      )
      const packed = await infer('vector', packs[coding](Buffer.concat([head, bytes])), {
        'content-encoding': coding,
        'accept-encoding': coding,
        'inference-header-content-length': String(head.length),
      })
      expect(packed.headers['content-encoding']).toBe(coding)
      expect(packed.headers['content-type']).toBe('application/octet-stream')
      const unpacked = { ...packed, body: unpacks[coding](packed.body) }
      expect(opened(unpacked).bytes).toEqual([bytes])
    })

    it('is answered as it is where that is short, or nothing known is accepted', async () => {
      const short = await infer(
        'linear',
        { inputs: [json('x', 'FP32', [1, 2], [1, 2])] },
        { 'accept-encoding': 'gzip' },
      )
      expect(short.headers['content-encoding']).toBeUndefined()
      expect((await infer('vector', asked, { 'accept-encoding': 'br' })).headers['content-encoding']).toBeUndefined()
    })

    it('is refused where it is not what it says, and where nobody knows how: 400, 415', async () => {
      expect(await infer('linear', 'no gzip', { 'content-encoding': 'gzip' })).toEqual(refusal(400, 'not valid gzip'))
      expect(await infer('linear', '{}', { 'content-encoding': 'br' })).toEqual(refusal(415, `'br'`))
    })

    it('is refused with 413 where it grows past the limit', async () => {
      const bomb = gzipSync(Buffer.alloc(70_000_000, 0x20))
      expect(bomb.length).toBeLessThan(100_000)
      expect(await infer('linear', bomb, { 'content-encoding': 'gzip' })).toEqual(refusal(413, 'larger than the limit'))
    })
  })

  it('7: takes nested and flat data, unknown keys, null optionals, and any query', async () => {
    const x = json('x', 'FP32', [2, 2], [1, 2, 3, 4])
    const expected = [5.5, 11.5]
    const nested = { ...x, data: [[1, 2], [3, 4]] } // prettier-ignore
    expect(dataOf(await infer('linear', { inputs: [nested] }))).toEqual(expected)
    const odd = { id: null, parameters: null, outputs: null, inputs: [{ ...x, parameters: null, more: 1 }], other: {} }
    expect(dataOf(await infer('linear', odd))).toEqual(expected)
    const asked = { body: JSON.stringify({ inputs: [x] }) }
    const path = '/v2/models/linear/versions/7/infer?test_1=1&x=%ff'
    expect(dataOf(await call(lab[place], 'POST', path, asked))).toEqual(expected)
  })

  it('8: gets its id back, the name of the model, and the version that answered', async () => {
    const inputs = [json('x', 'FP32', [1, 2], [1, 2])]
    const named = await infer('linear', { id: 'ä "1"', inputs })
    expect(named.json).toMatchObject({ id: 'ä "1"', model_name: 'linear', model_version: '7' })
    const unnamed = await infer('linear', { inputs })
    expect(unnamed.json).toMatchObject({ model_name: 'linear', model_version: '7' })
    expect(unnamed.json).not.toHaveProperty('id')
    expect(await infer('linear', { id: 7, inputs })).toEqual(refusal(400, `'id'`))
  })

  it('9: can not carry FP16 and BF16 as JSON; as bytes FP16 goes through', async () => {
    expect(await infer('half', { inputs: [json('x', 'FP16', [1], [1])] })).toEqual(refusal(400, 'FP16'))
    expect(await infer('vector', { inputs: [json('x', 'BF16', [1], [1])] })).toEqual(refusal(400, 'BF16'))
    const bytes = Buffer.from(new Uint16Array([0x3c00, 0xc000]).buffer)
    const inputs = [binary('x', 'FP16', [2], bytes)]
    const reply = await inferBinary('half', { inputs, parameters: { binary_data_output: true } }, bytes)
    expect(opened(reply).bytes).toEqual([bytes])
    expect(await inferBinary('half', { inputs }, bytes)).toEqual(refusal(400, 'FP16'))
  })

  it('10: gets null for NaN and infinite values, exact values as bytes, and every digit of INT64', async () => {
    const bytes = float32(Number.NaN, Number.POSITIVE_INFINITY, 1)
    const inputs = [binary('x', 'FP32', [3], bytes)]
    expect(dataOf(await inferBinary('vector', { inputs }, bytes))).toEqual([null, null, 1])
    const exact = await inferBinary('vector', { inputs, parameters: { binary_data_output: true } }, bytes)
    expect(opened(exact).bytes).toEqual([bytes])
    const digits = '[9223372036854775807,-9223372036854775808,9007199254740993]'
    const body = `{"inputs":[{"name":"x","datatype":"INT64","shape":[3],"data":${digits}}]}`
    const reply = await infer('long', body)
    expect(reply.body.toString()).toContain(`"data":${digits}`)
    expect(await infer('long', body.replace('9223372036854775807', '9223372036854775808'))).toEqual(refusal(400, `'x'`))
    expect(await infer('double', '{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[1e999]}]}')).toEqual(
      refusal(400, `'x'`),
    )
  })

  it.each([
    ['negative axes', '{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2],"data":[1,2]}]}'],
    [
      'more elements than can be counted',
      `{"inputs":[{"name":"x","datatype":"FP32","shape":[${2 ** 52},2],"data":[1]}]}`,
    ],
    ['a size that overflows', `{"inputs":[{"name":"x","datatype":"FP32","shape":[${2 ** 30},2],"data":[1]}]}`],
    ['axes that are no numbers', '{"inputs":[{"name":"x","datatype":"FP32","shape":["1",2],"data":[1,2]}]}'],
    [
      'deep nesting',
      `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":${'['.repeat(90_000)}${']'.repeat(90_000)}}]}`,
    ],
    ['deep nesting of what nobody reads', `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)},"inputs":[]}`],
  ])('11: is refused with %s', async (_name, body) => {
    const reply = await infer('linear', body)
    expect([reply.status, Object.keys(reply.json)]).toEqual([400, ['error']])
  })

  it('12: may say how long it waits and how urgent it is; sequences are refused, saying so', async () => {
    const inputs = [json('x', 'FP32', [1, 2], [1, 2])]
    expect(dataOf(await infer('linear', { inputs, parameters: { timeout: 5_000_000, priority: 1 } }))).toEqual([5.5])
    expect(await infer('linear', { inputs, parameters: { timeout: 'soon' } })).toEqual(refusal(400, 'timeout'))
    const sequence = { sequence_id: 42, sequence_start: true, sequence_end: false }
    expect(await infer('linear', { inputs, parameters: sequence })).toEqual(refusal(400, 'Sequences are not supported'))
  })
})

describe('the prediction log', () => {
  it('has the unpacked bodies and the lengths of their JSON, whatever the client packed', async () => {
    const before = lab.log.records.length
    const bytes = float32(1, 2)
    const head = Buffer.from(
      JSON.stringify({ inputs: [binary('x', 'FP32', [1, 2], bytes)], parameters: { binary_data_output: true } }),
    )
    const headers = { 'content-encoding': 'gzip', 'inference-header-content-length': String(head.length) }
    const body = gzipSync(Buffer.concat([head, bytes]))
    const reply = await call(lab.gateway, 'POST', '/v2/models/linear/infer', { body, headers })
    expect(reply.status).toBe(200)
    const { record } = lab.log.records[before]!
    expect(record).toMatchObject({
      kind: 'prediction',
      request: Buffer.concat([head, bytes]),
      requestJsonBytes: head.length,
      response: reply.body,
      responseJsonBytes: Number(reply.headers['inference-header-content-length']),
    })
  })
})
