import { describe, expect, it } from 'vitest'
import type { Datatype, Signature } from '../model/signature.ts'
import {
  configType,
  EXTENSIONS,
  modelConfig,
  modelMetadata,
  readIndexRequest,
  repositoryIndex,
  serverMetadata,
  statisticsBody,
  V1_ALIVE,
  v1ModelReady,
  v1Models,
} from './inference.ts'
import type { ModelStatistics } from './inference.ts'

const tensor = (name: string, datatype: Datatype, shape: number[]) => ({ name, datatype, shape, columns: null })
const batched: Signature = {
  inputs: [tensor('x', 'FP32', [-1, 4]), tensor('s', 'BYTES', [-1])],
  outputs: [tensor('y', 'INT64', [-1, -1])],
}

describe('the server', () => {
  it('names the extensions that it speaks', () => {
    expect(JSON.parse(serverMetadata({ name: 'millrace', version: '1' }))).toEqual({
      name: 'millrace',
      version: '1',
      extensions: ['binary_tensor_data', 'model_repository', 'model_configuration', 'statistics', 'parameters'],
    })
    expect(EXTENSIONS).toHaveLength(5)
  })
})

describe("a model's metadata", () => {
  it('has its platform, where it is not our own', () => {
    const model = { name: 'm', versions: ['1'], signature: batched }
    expect(JSON.parse(modelMetadata(model))).toMatchObject({ platform: 'onnxruntime_onnx' })
    expect(JSON.parse(modelMetadata({ ...model, platform: 'sklearn' }))).toMatchObject({ platform: 'sklearn' })
  })
})

describe("a model's configuration", () => {
  const model = { name: 'm', versions: ['3', '4'], platform: 'onnxruntime_onnx', signature: batched }

  it('leaves the batch axis out of the dims where requests are stacked', () => {
    expect(modelConfig({ ...model, maxBatchRows: 64 })).toEqual({
      name: 'm',
      platform: 'onnxruntime_onnx',
      backend: 'onnxruntime',
      version_policy: { specific: { versions: [3, 4] } },
      max_batch_size: 64,
      input: [
        {
          name: 'x',
          data_type: 'TYPE_FP32',
          dims: [4],
          format: 'FORMAT_NONE',
          allow_ragged_batch: false,
          is_shape_tensor: false,
          optional: false,
        },
        {
          name: 's',
          data_type: 'TYPE_STRING',
          dims: [1],
          reshape: { shape: [] },
          format: 'FORMAT_NONE',
          allow_ragged_batch: false,
          is_shape_tensor: false,
          optional: false,
        },
      ],
      output: [{ name: 'y', data_type: 'TYPE_INT64', dims: [-1], is_shape_tensor: false }],
      dynamic_batching: {},
      model_transaction_policy: { decoupled: false },
      default_model_filename: 'model.onnx',
    })
  })

  it('keeps every axis where they are not, or can not be', () => {
    const alone = modelConfig({ ...model, maxBatchRows: 0 })
    expect(alone).toMatchObject({ max_batch_size: 0, input: [{ dims: [-1, 4] }, { dims: [-1] }] })
    expect(alone).not.toHaveProperty('dynamic_batching')
    const fixed = { inputs: [tensor('x', 'FP32', [1, 4])], outputs: [tensor('y', 'FP32', [1])] }
    expect(modelConfig({ ...model, signature: fixed, maxBatchRows: 64 })).toMatchObject({
      max_batch_size: 0,
      input: [{ dims: [1, 4] }],
    })
  })

  it('knows versions only that are numbers', () => {
    const named = modelConfig({ ...model, versions: ['blue'], platform: 'sklearn', maxBatchRows: 1 })
    expect(named).toMatchObject({ version_policy: { all: {} }, backend: '', default_model_filename: '' })
  })

  it('has the names of types that its clients know', () => {
    expect((['BOOL', 'UINT8', 'FP16', 'FP64', 'BYTES'] as const).map(configType)).toEqual([
      'TYPE_BOOL',
      'TYPE_UINT8',
      'TYPE_FP16',
      'TYPE_FP64',
      'TYPE_STRING',
    ])
  })
})

describe('statistics', () => {
  it('have every field, the version as text, and whole numbers', () => {
    const total = (count: number) => ({ count, ns: count * 1_000.4 })
    const model: ModelStatistics = {
      name: 'm',
      version: '3',
      lastInferenceMs: 1_700_000_000_000.7,
      inferenceCount: 9,
      executionCount: 2,
      success: total(5),
      fail: total(1),
      queue: total(2),
      computeInput: total(3),
      computeInfer: total(4),
      computeOutput: total(6),
    }
    const of = (count: number) => ({ count, ns: Math.round(count * 1_000.4) })
    expect(JSON.parse(JSON.stringify(statisticsBody([model])))).toEqual({
      model_stats: [
        {
          name: 'm',
          version: '3',
          last_inference: 1_700_000_000_000,
          inference_count: 9,
          execution_count: 2,
          inference_stats: {
            success: of(5),
            fail: of(1),
            queue: of(2),
            compute_input: of(3),
            compute_infer: of(4),
            compute_output: of(6),
            cache_hit: { count: 0, ns: 0 },
            cache_miss: { count: 0, ns: 0 },
          },
          batch_stats: [],
        },
      ],
    })
    expect(statisticsBody([])).toEqual({ model_stats: [] })
  })
})

describe('the repository', () => {
  it('lists name, version, state and reason of each', () => {
    const entry = { name: 'm', version: '1', state: 'UNAVAILABLE', reason: 'draining' } as const
    expect(JSON.parse(repositoryIndex([entry]))).toEqual([entry])
    expect(repositoryIndex([])).toBe('[]')
  })

  it('is asked with or without a body', () => {
    const asked = (text: string) => readIndexRequest(Buffer.from(text))
    expect([asked(''), asked('{}'), asked('{"ready":null}'), asked('{"ready":false}')]).toEqual(Array(4).fill(false))
    expect(asked('{"ready":true}')).toBe(true)
    for (const text of ['{', '[]', '{"ready":1}'])
      expect(() => asked(text)).toThrow(expect.objectContaining({ status: 400 }))
  })
})

it('KServe v1 has its own words', () => {
  expect([V1_ALIVE, v1Models(['a', 'b']), v1ModelReady('a"')].map((text) => JSON.parse(text))).toEqual([
    { status: 'alive' },
    { models: ['a', 'b'] },
    { name: 'a"', ready: true },
  ])
})
