import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Tensor } from '../model/tensor.ts'
import {
  encodeInferAnswer,
  encodeInferResponse,
  parseAnswerBytes,
  parseAnswerTensors,
  parseInferResponse,
  ProtocolError,
} from './inference.ts'
import { outcomeOf } from '../../testing/protocol-outcome.ts'

const encode = (outputs: Record<string, Tensor>, binary: string[], id: string | null = null) =>
  encodeInferAnswer({ modelName: 'm', modelVersion: '7', id, outputs }, new Set(binary))

const OUTPUTS: Record<string, Tensor> = {
  p: { datatype: 'FP32', shape: [2, 2], data: Float32Array.of(0.1, NaN, Infinity, -0) },
  n: { datatype: 'INT64', shape: [2], data: BigInt64Array.of(9_007_199_254_740_993n, 5n) },
  h: { datatype: 'FP16', shape: [2], data: Uint16Array.of(0x3c00, 0x7e00) },
  b: { datatype: 'BOOL', shape: [2], data: Uint8Array.of(1, 0) },
  s: { datatype: 'BYTES', shape: [2], data: ['Grüße', ''] },
  u: { datatype: 'UINT8', shape: [1, 2], data: Uint8Array.of(7, 255) },
}
const NAMES = Object.keys(OUTPUTS)

describe('rule 5: an answer is JSON, then the bytes of what is wanted as such', () => {
  it('says where its JSON ends, and how many bytes each output has', () => {
    const { body, jsonBytes } = encode({ n: OUTPUTS.n!, u: OUTPUTS.u!, s: OUTPUTS.s! }, ['u', 's'], 'a')
    expect(JSON.parse(body.toString('utf8', 0, jsonBytes!))).toEqual({
      model_name: 'm',
      model_version: '7',
      id: 'a',
      outputs: [
        { name: 'n', datatype: 'INT64', shape: [2], data: [9_007_199_254_740_992, 5] },
        { name: 'u', datatype: 'UINT8', shape: [1, 2], parameters: { binary_data_size: 2 } },
        { name: 's', datatype: 'BYTES', shape: [2], parameters: { binary_data_size: 15 } },
      ],
    })
    expect(body.subarray(jsonBytes!).toString('hex')).toBe(
      `07ff${'07000000'}${Buffer.from('Grüße').toString('hex')}00000000`,
    )
  })

  it('is all JSON where nothing is wanted as bytes, and then as it ever was', () => {
    const outputs = { p: OUTPUTS.p!, s: OUTPUTS.s! }
    const text = encodeInferResponse({ modelName: 'm', modelVersion: '7', id: null, outputs })
    expect(encode(outputs, [])).toEqual({ body: Buffer.from(text), jsonBytes: null })
    expect(encode(outputs, ['other'])).toEqual({ body: Buffer.from(text), jsonBytes: null })
  })

  it('begins its tensors where they need no copy', () => {
    for (let length = 0; length < 9; length += 1) {
      const { body, jsonBytes } = encode({ n: OUTPUTS.n! }, ['n'], 'x'.repeat(length))
      expect([jsonBytes! % 8, body.length - jsonBytes!]).toEqual([0, 16])
    }
  })

  it('may have no rows', () => {
    const sent = encode({ p: { datatype: 'FP32', shape: [0, 2], data: new Float32Array(0) } }, ['p'])
    expect(parseAnswerTensors(sent.body, sent).outputs.p).toMatchObject({ shape: [0, 2] })
  })
})

describe('rule 8: an answer names its model and version, and echoes the id', () => {
  it('also where it is binary', () => {
    const sent = encode(OUTPUTS, NAMES, 'é"')
    expect(parseInferResponse(sent.body, sent)).toMatchObject({ modelName: 'm', modelVersion: '7', id: 'é"' })
  })
})

describe('rules 9 and 10: what JSON can not carry is exact in bytes', () => {
  it('gives tensors back bit by bit', () => {
    const sent = encode(OUTPUTS, NAMES)
    expect(parseAnswerTensors(sent.body, sent).outputs).toEqual(OUTPUTS)
  })

  it('refuses FP16 as JSON, naming the output', () => {
    expect(() => encode(OUTPUTS, ['p'])).toThrow(ProtocolError)
    expect(() => encode(OUTPUTS, ['p'])).toThrow("Output 'h' is FP16")
  })

  it('reads as the same values, whether an output came as JSON or as bytes', () => {
    const { h, ...others } = OUTPUTS
    // JSON as Millrace writes it has no -0.
    const rest = { ...others, p: { ...others.p!, data: Float32Array.of(0.1, NaN, Infinity, 0) } }
    const json = encode(rest, [])
    const binary = encode(rest, Object.keys(rest))
    expect(parseInferResponse(binary.body, binary)).toEqual(parseInferResponse(json.body, json))
    const half = encode({ h: h! }, ['h'])
    expect(parseInferResponse(half.body, half).outputs.h!.data).toEqual([1, null])
  })

  it('becomes tensors from JSON too: null is NaN', () => {
    const { h: _half, ...rest } = OUTPUTS
    const { body } = encode(rest, [])
    const { outputs } = parseAnswerTensors(body)
    expect(outputs.p!.data).toEqual(Float32Array.of(0.1, NaN, NaN, 0))
    expect({ n: outputs.n, b: outputs.b, s: outputs.s }).toEqual({ n: rest.n, b: rest.b, s: rest.s })
  })
})

describe('an answer as bytes, for protocols that carry those', () => {
  it('is cut out of the body where it came so, and made from JSON where not', () => {
    const { h: _half, p: _nan, ...rest } = OUTPUTS
    const binary = encode(rest, Object.keys(rest))
    const json = encode(rest, [])
    expect(parseAnswerBytes(binary)).toEqual(parseAnswerBytes(json))
    expect(parseAnswerBytes(binary).outputs.n!.bytes.buffer).toBe(binary.body.buffer)
    expect(parseAnswerBytes(json).outputs.s!.bytes.toString('hex')).toBe(
      `07000000${Buffer.from('Grüße').toString('hex')}00000000`,
    )
  })
})

describe('an answer of another server', () => {
  const parsed = (text: string) => parseInferResponse(Buffer.from(text)).outputs.y!.data

  it('may nest its data', () => {
    expect(
      parsed('{"outputs":[{"name":"y","datatype":"INT64","shape":[2,1],"data":[[1],[9007199254740993]]}]}'),
    ).toEqual([1, 9_007_199_254_740_993n])
  })

  it.each<[string, string]>([
    ['is cut', '{"outputs":['],
    ['has no outputs', '{}'],
    ['has outputs that are none', '{"outputs":[null]}'],
    ['has a type that is made up', '{"outputs":[{"name":"y","datatype":"float","shape":[1],"data":[1]}]}'],
    ['has a shape that is none', '{"outputs":[{"name":"y","datatype":"FP32","shape":[-1],"data":[1]}]}'],
    [
      'has fewer bytes than it says',
      '{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}',
    ],
    [
      'has a size that is none',
      '{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":"4"}}]}',
    ],
    [
      'nests beyond measure',
      `{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":${'['.repeat(9_000)}1${']'.repeat(9_000)}}]}`,
    ],
  ])('that %s is its fault: 500', (_what, text) => {
    const error = expect.objectContaining({ status: 500 })
    expect(() => parseAnswerTensors(Buffer.from(text))).toThrow(error)
    expect(() => parseAnswerBytes({ body: Buffer.from(text), jsonBytes: null })).toThrow(error)
  })

  it('that has bytes which belong to nothing is its fault as well', () => {
    const body = Buffer.from('{"outputs":[]}xx')
    expect(() => parseInferResponse(body, { jsonBytes: 14 })).toThrow('2 bytes that belong to none')
    expect(() => parseInferResponse(body, { jsonBytes: 99 })).toThrow('99 bytes by its header')
  })

  it('is read or is a 500, whatever it is', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(30), (text, jsonBytes) => {
        expect(outcomeOf(() => parseAnswerTensors(Buffer.from(text), { jsonBytes }))).toBeOneOf(['read', 500])
      }),
    )
  })
})
