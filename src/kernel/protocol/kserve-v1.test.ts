import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { numberToHalf } from '../model/float16.ts'
import type { Signature, TensorSpec } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { encodeInferAnswer, parseInferRequest, ProtocolError, v1FromAnswer, v1ToInfer } from './inference.ts'
import { outcomeOf } from '../../testing/protocol-outcome.ts'

const tensor = (name: string, shape: number[], facts: Partial<TensorSpec> = {}): TensorSpec => ({
  name,
  datatype: 'FP32',
  shape,
  columns: null,
  ...facts,
})
const outputs = [tensor('y', [-1])]
const takes = (...inputs: TensorSpec[]): Signature => ({ inputs, outputs })

const table = takes(tensor('features', [-1, 2], { columns: ['age', 'income'] }))
const perColumn = takes(
  tensor('age', [-1, 1], { datatype: 'INT64', columns: ['age'] }),
  tensor('city', [-1, 1], { datatype: 'BYTES', columns: ['city'] }),
)
const image = takes(tensor('image', [-1, 2, 2]))

/** What the model gets in the end, by way of the v2 request. */
function inputsOf(json: unknown, signature: Signature): Record<string, Tensor> {
  const { body, jsonBytes } = v1ToInfer(Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)), signature)
  return parseInferRequest(body, signature, { jsonBytes }).inputs
}

function refusal(json: unknown, signature: Signature): string {
  try {
    v1ToInfer(Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)), signature)
  } catch (error) {
    if (error instanceof ProtocolError && error.status === 400) return error.message
    throw error
  }
  throw new Error('it was accepted')
}

describe('instances are rows', () => {
  it('as lists of values', () => {
    expect(
      inputsOf(
        {
          instances: [
            [1, 2],
            [3, 4],
          ],
        },
        table,
      ),
    ).toEqual({
      features: { datatype: 'FP32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
    })
  })

  it('as objects by column, in whatever order and with whatever else', () => {
    const instances = [
      { income: 2, age: 1, name: 'x' },
      { age: 3, income: 4 },
    ]
    expect(inputsOf({ instances }, table).features!.data).toEqual(Float32Array.of(1, 2, 3, 4))
  })

  it('as objects by the name of the input', () => {
    expect(inputsOf({ instances: [{ features: [1, 2] }] }, table).features!.data).toEqual(Float32Array.of(1, 2))
    const instances = [
      {
        image: [
          [1, 2],
          [3, 4],
        ],
      },
      {
        image: [
          [5, 6],
          [7, 8],
        ],
      },
    ]
    expect(inputsOf({ instances }, image).image).toMatchObject({
      shape: [2, 2, 2],
      data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    })
  })

  it('nested as the input is', () => {
    expect(
      inputsOf(
        {
          instances: [
            [
              [1, 2],
              [3, 4],
            ],
          ],
        },
        image,
      ).image!.shape,
    ).toEqual([1, 2, 2])
  })

  it('as single values, for [N] and for [N, 1]; and [N, 1] for [N]', () => {
    for (const shape of [[-1], [-1, 1], [-1, 1, 1]])
      for (const instances of [
        [5, 6],
        [[5], [6]],
      ])
        expect(inputsOf({ instances }, takes(tensor('x', shape))).x).toMatchObject({
          shape: [2, ...shape.slice(1)],
          data: Float32Array.of(5, 6),
        })
  })

  it('feed an input per column, [N, 1] each, from objects and from lists in order', () => {
    const expected = {
      age: { datatype: 'INT64', shape: [2, 1], data: BigInt64Array.of(30n, 9_007_199_254_740_993n) },
      city: { datatype: 'BYTES', shape: [2, 1], data: ['Zürich', 'Bern'] },
    }
    const objects = '{"instances":[{"city":"Zürich","age":30},{"city":"Bern","age":9007199254740993}]}'
    expect(inputsOf(objects, perColumn)).toEqual(expected)
    expect(inputsOf('{"instances":[[30,"Zürich"],[9007199254740993,"Bern"]]}', perColumn)).toEqual(expected)
  })

  it('may miss values where they are floats, which then are sent on as bytes', () => {
    expect(inputsOf({ instances: [[null, 2]] }, table).features!.data).toEqual(Float32Array.of(NaN, 2))
    const { jsonBytes } = v1ToInfer(Buffer.from('{"instances":[[null,2]]}'), table)
    expect(jsonBytes).toBeGreaterThan(0)
  })

  it('are coerced to the type of the model where nothing is lost', () => {
    const instances = [
      { age: '5', city: 5 },
      { age: 5.0, city: true },
    ]
    expect(inputsOf({ instances }, perColumn)).toMatchObject({
      age: { data: BigInt64Array.of(5n, 5n) },
      city: { data: ['5', 'true'] },
    })
    expect(inputsOf({ instances: [['1e2', true]] }, table).features!.data).toEqual(Float32Array.of(100, 1))
  })

  it('may carry text in base64', () => {
    const b64 = Buffer.from('Grüße').toString('base64')
    const texts = takes(tensor('s', [-1], { datatype: 'BYTES' }))
    expect(inputsOf({ instances: [{ b64 }, 'x'] }, texts).s!.data).toEqual(['Grüße', 'x'])
    expect(inputsOf({ instances: [{ s: { b64 } }] }, texts).s!.data).toEqual(['Grüße'])
    expect(refusal({ instances: [{ b64: '//8=' }] }, texts)).toContain("can't be BYTES")
  })

  it('go to an FP16 model as bytes, and its answer is asked for as such', () => {
    const half: Signature = {
      inputs: [tensor('x', [-1], { datatype: 'FP16' })],
      outputs: [tensor('y', [-1], { datatype: 'FP16' }), tensor('z', [-1])],
    }
    const { body, jsonBytes } = v1ToInfer(Buffer.from('{"instances":[0.5]}'), half)
    expect(parseInferRequest(body, half, { jsonBytes })).toMatchObject({
      inputs: { x: { data: Uint16Array.of(numberToHalf(0.5)) } },
      outputs: ['y', 'z'],
      binaryOutputs: new Set(['y']),
    })
  })
})

describe('inputs are columns', () => {
  it('by the name of the input, or of its columns', () => {
    expect(
      inputsOf(
        {
          inputs: {
            features: [
              [1, 2],
              [3, 4],
            ],
          },
        },
        table,
      ).features!.data,
    ).toEqual(Float32Array.of(1, 2, 3, 4))
    expect(inputsOf({ inputs: { income: [2, 4], age: [1, 3] } }, table).features!.data).toEqual(
      Float32Array.of(1, 2, 3, 4),
    )
    expect(inputsOf({ inputs: { age: [[1], [2]], city: ['a', 'b'] } }, perColumn)).toMatchObject({
      age: { shape: [2, 1] },
      city: { shape: [2, 1], data: ['a', 'b'] },
    })
  })

  it('or the whole tensor of a model with one input', () => {
    expect(
      inputsOf(
        {
          inputs: [
            [1, 2],
            [3, 4],
          ],
        },
        table,
      ).features!.shape,
    ).toEqual([2, 2])
  })
})

describe('what is wrong is named', () => {
  it.each<[string, unknown, Signature, string]>([
    ['no JSON', '{', table, 'not valid JSON'],
    ['no object', [], table, 'must be a JSON object'],
    ['neither form', {}, table, `either 'instances' or 'inputs'`],
    ['both forms', { instances: [], inputs: [] }, table, `either 'instances' or 'inputs'`],
    ['no rows', { instances: [] }, table, 'no rows'],
    ['no columns', { inputs: {} }, table, 'no rows'],
    ['instances that are no list', { instances: {} }, table, `'instances' must be a list`],
    ['inputs that are neither', { inputs: 5 }, table, `'inputs' must be a list of rows, or an object`],
    ['a column that is no list', { inputs: { age: 5 } }, table, `'age' of 'inputs' is 5`],
    [
      'columns of different length',
      { inputs: { age: [1, 2], income: [1] } },
      table,
      `'income' has 1 rows, but 'age' has 2`,
    ],
    [
      'columns that are missing',
      { instances: [{ age: 1 }] },
      table,
      `lacks the columns 'income', which the model takes; it has 'age'`,
    ],
    ['all columns missing', { instances: [{ x: 1 }] }, perColumn, `lacks the columns 'age', 'city'`],
    [
      'a column that one row lacks',
      { instances: [{ age: 1, income: 1 }, { age: 1 }] },
      table,
      `Row 1 lacks the column 'income'`,
    ],
    [
      'a row of another form',
      { instances: [{ age: 1, income: 2 }, [1, 2]] },
      table,
      'Row 1 is an array, but row 0 is an object',
    ],
    ['an object among lists', { instances: [[1, 2], { age: 1 }] }, table, 'Row 1 is an object, row 0 is not'],
    ['rows that are too wide', { instances: [[1, 2, 3]] }, table, 'shape [1, 3], but the model takes [-1, 2]'],
    ['rows of different width', { instances: [[1, 2], [3]] }, table, 'axis 1 has 1 items'],
    ['lists that are too short for the columns', { instances: [[1]] }, perColumn, 'Row 0 is 1 values, but there are 2'],
    ['single values for several inputs', { instances: [1] }, perColumn, 'Row 0 is 1, but there are 2 columns'],
    [
      'lists for inputs without columns',
      { instances: [[1]] },
      takes(tensor('a', [-1, 2]), tensor('b', [-1])),
      'send each row as an object',
    ],
    ['a value of another type', { instances: [['x', 2]] }, table, `Input 'features', row 0: "x" can't be FP32`],
    [
      'a missing integer',
      { instances: [{ age: null, city: 'a' }] },
      perColumn,
      `Input 'age', row 0: a missing value can't be INT64`,
    ],
    [
      'a broken integer',
      { inputs: { age: [1, 1.5], city: ['a', 'b'] } },
      perColumn,
      `Input 'age', row 1: 1.5 can't be INT64`,
    ],
    ['a number that is too large', { instances: [{ age: 1, income: 1e39 }] }, table, `Column 'income', row 0`],
    [
      'more rows than a fixed batch has',
      { instances: [[1], [2]] },
      takes(tensor('x', [1, 1])),
      'the model takes [1, 1]',
    ],
  ])('%s', (_what, json, signature, says) => {
    expect(refusal(json, signature)).toContain(says)
  })

  it('and nothing can exhaust the stack', () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    expect(refusal(`{"instances":${deep}}`, image)).toMatch(/shape|nested/)
    expect(refusal(`{"inputs":{"image":${deep}}}`, image)).toMatch(/shape|nested/)
  })

  it('whatever comes, it is a request or a 400', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom('instances', 'inputs'), (json, key) => {
        const body = Buffer.from(`{"${key}":${json}}`)
        for (const signature of [table, perColumn, image])
          expect(outcomeOf(() => v1ToInfer(body, signature))).toBeOneOf(['read', 400])
      }),
    )
  })
})

describe('predictions', () => {
  const predictions = (answer: Record<string, Tensor>, binary: string[] = []) =>
    v1FromAnswer(
      encodeInferAnswer({ modelName: 'm', modelVersion: '1', id: null, outputs: answer }, new Set(binary)),
    ).toString()
  const p: Tensor = { datatype: 'FP32', shape: [2, 2], data: Float32Array.of(0.5, 0.25, NaN, 1) }
  const label: Tensor = { datatype: 'INT64', shape: [2], data: BigInt64Array.of(1n, 9_007_199_254_740_993n) }
  const name: Tensor = { datatype: 'BYTES', shape: [2, 1], data: ['a"', 'ü'] }

  it('of one output are its rows, nested as its shape', () => {
    expect(predictions({ p })).toBe('{"predictions":[[0.5,0.25],[null,1]]}')
    expect(predictions({ label })).toBe('{"predictions":[1,9007199254740993]}')
    const cube: Tensor = { datatype: 'UINT8', shape: [1, 2, 3], data: Uint8Array.of(1, 2, 3, 4, 5, 6) }
    expect(predictions({ cube })).toBe('{"predictions":[[[1,2,3],[4,5,6]]]}')
    const one: Tensor = { datatype: 'BOOL', shape: [], data: Uint8Array.of(1) }
    expect(predictions({ one })).toBe('{"predictions":[true]}')
    expect(predictions({ none: { datatype: 'FP32', shape: [0, 2], data: new Float32Array(0) } })).toBe(
      '{"predictions":[]}',
    )
  })

  it('of several are an object for each row', () => {
    expect(predictions({ label, name, p })).toBe(
      '{"predictions":[{"label":1,"name":["a\\""],"p":[0.5,0.25]},{"label":9007199254740993,"name":["ü"],"p":[null,1]}]}',
    )
  })

  it('of outputs with different rows are each of them whole', () => {
    const loss: Tensor = { datatype: 'FP32', shape: [1], data: Float32Array.of(2) }
    expect(predictions({ label, loss })).toBe('{"predictions":{"label":[1,9007199254740993],"loss":[2]}}')
  })

  it('are the same of an answer in bytes', () => {
    expect(predictions({ label, name, p }, ['p', 'name', 'label'])).toBe(predictions({ label, name, p }))
    const half: Tensor = { datatype: 'FP16', shape: [1], data: Uint16Array.of(numberToHalf(0.5)) }
    expect(predictions({ half }, ['half'])).toBe('{"predictions":[0.5]}')
  })
})
