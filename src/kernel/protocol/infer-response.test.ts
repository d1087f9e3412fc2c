import { describe, expect, it } from 'vitest'
import type { Tensor } from '../model/tensor.ts'
import {
  encodeInferResponse,
  errorBody,
  modelMetadata,
  parseInferResponse,
  ProtocolError,
  unknownModel,
} from './inference.ts'

const encode = (outputs: Record<string, Tensor>, id: string | null = null): string =>
  encodeInferResponse({ modelName: 'm', modelVersion: '7', id, outputs })
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('an answer', () => {
  it('names model and version, and echoes the id (rule 8)', () => {
    const y: Tensor = { datatype: 'FP32', shape: [2, 1], data: Float32Array.of(1, 0.5) }
    expect(JSON.parse(encode({ y }, 'é"'))).toEqual({
      model_name: 'm',
      model_version: '7',
      id: 'é"',
      outputs: [{ name: 'y', datatype: 'FP32', shape: [2, 1], data: [1, 0.5] }],
    })
    expect(JSON.parse(encode({ y }))).not.toHaveProperty('id')
  })

  it('is always JSON: what is no number becomes null (rule 10)', () => {
    const y: Tensor = { datatype: 'FP64', shape: [4], data: Float64Array.of(NaN, Infinity, -Infinity, 1e-300) }
    expect(JSON.parse(encode({ y })).outputs[0].data).toEqual([null, null, null, 1e-300])
  })

  it('keeps every digit of 64-bit integers, and is read back so (rule 10)', () => {
    const y: Tensor = { datatype: 'INT64', shape: [2], data: BigInt64Array.of(9_007_199_254_740_993n, -(2n ** 63n)) }
    const text = encode({ y }, 'x')
    expect(text).toContain('[9007199254740993,-9223372036854775808]')
    expect(parseInferResponse(bytes(text))).toEqual({
      modelName: 'm',
      modelVersion: '7',
      id: 'x',
      outputs: { y: { datatype: 'INT64', shape: [2], data: [9_007_199_254_740_993n, -(2n ** 63n)] } },
    })
  })

  it('writes truth and text as JSON has them', () => {
    const text = encode({
      b: { datatype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) },
      s: { datatype: 'BYTES', shape: [2], data: ['a"b', 'ü\n'] },
    })
    expect(JSON.parse(text).outputs.map(({ data }: { data: unknown }) => data)).toEqual([
      [true, false, true],
      ['a"b', 'ü\n'],
    ])
  })

  it('can not carry FP16 in JSON (rule 9)', () => {
    expect(() => encode({ y: { datatype: 'FP16', shape: [1], data: Uint16Array.of(0) } })).toThrow(ProtocolError)
  })

  it('that is none is the fault of its server', () => {
    for (const text of [
      '',
      '[]',
      '{"outputs":[1]}',
      '{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}]}',
    ]) {
      expect(() => parseInferResponse(bytes(text))).toThrow(expect.objectContaining({ status: 500 }))
    }
  })
})

it('has errors of one shape, and the words clients look for', () => {
  expect(JSON.parse(errorBody('a "b"\n'))).toEqual({ error: 'a "b"\n' })
  expect(unknownModel('m')).toMatchObject({ status: 404, message: `Request for unknown model: 'm' is not found` })
  expect(unknownModel('m', '9').message).toMatch(/^Request for unknown model: 'm' is not found/)
})

it('describes a model with its dynamic axes as −1', () => {
  const signature = {
    inputs: [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 2], columns: ['a', 'b'] }],
    outputs: [{ name: 'y', datatype: 'INT64' as const, shape: [-1], columns: ['y'] }],
  }
  expect(JSON.parse(modelMetadata({ name: 'm', versions: ['1', '2'], signature }))).toEqual({
    name: 'm',
    versions: ['1', '2'],
    platform: 'onnxruntime_onnx',
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
    outputs: [{ name: 'y', datatype: 'INT64', shape: [-1] }],
  })
})
