import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Signature, TensorSpec } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { parseCsv } from './csv.ts'
import {
  encodeInferAnswer,
  mlflowErrorBody,
  mlflowFromAnswer,
  mlflowToInfer,
  parseInferRequest,
  ProtocolError,
} from './inference.ts'
import { outcomeOf } from '../../testing/protocol-outcome.ts'

const tensor = (name: string, shape: number[], facts: Partial<TensorSpec> = {}): TensorSpec => ({
  name,
  datatype: 'FP32',
  shape,
  columns: null,
  ...facts,
})
const takes = (...inputs: TensorSpec[]): Signature => ({ inputs, outputs: [tensor('y', [-1])] })

const table = takes(tensor('features', [-1, 2], { columns: ['age', 'income'] }))
const unnamed = takes(tensor('features', [-1, 2]))
/** As skl2onnx exports a pipeline over a data frame. */
const perColumn = takes(
  tensor('age', [-1, 1], { datatype: 'INT64', columns: ['age'] }),
  tensor('city', [-1, 1], { datatype: 'BYTES', columns: ['city'] }),
)

const JSON_TYPE = 'application/json'
const CSV = 'text/csv'

function inputsOf(type: string, body: unknown, signature: Signature): Record<string, Tensor> {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const { body: request, jsonBytes } = mlflowToInfer(type, bytes, signature)
  return parseInferRequest(request, signature, { jsonBytes }).inputs
}

const features = (type: string, body: unknown, signature = table) => inputsOf(type, body, signature).features!.data

function refusal(type: string | undefined, body: unknown, signature = table): string {
  try {
    mlflowToInfer(type, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), signature)
  } catch (error) {
    if (error instanceof ProtocolError) return `${error.status} ${error.message}`
    throw error
  }
  throw new Error('it was accepted')
}

describe('a data frame', () => {
  const expected = Float32Array.of(1, 2, 3, 4)

  it('split into columns, index and data', () => {
    const split = {
      columns: ['income', 'extra', 'age'],
      index: [0, 1],
      data: [
        [2, 'x', 1],
        [4, 'y', 3],
      ],
    }
    expect(features(JSON_TYPE, { dataframe_split: split })).toEqual(expected)
    expect(
      features(JSON_TYPE, {
        dataframe_split: {
          data: [
            [1, 2],
            [3, 4],
          ],
        },
      }),
    ).toEqual(expected)
  })

  it('as records', () => {
    const dataframe_records = [
      { income: 2, age: 1, extra: 0 },
      { income: 4, age: 3 },
    ]
    expect(features(JSON_TYPE, { dataframe_records })).toEqual(expected)
  })

  it('becomes one [N, 1] tensor for each column, where the model takes such', () => {
    const split = {
      columns: ['city', 'age'],
      data: [
        ['Bern', 30],
        ['Genf', 40],
      ],
    }
    expect(inputsOf(JSON_TYPE, { dataframe_split: split }, perColumn)).toEqual({
      age: { datatype: 'INT64', shape: [2, 1], data: BigInt64Array.of(30n, 40n) },
      city: { datatype: 'BYTES', shape: [2, 1], data: ['Bern', 'Genf'] },
    })
  })

  it('is taken in its order by a model that names no columns', () => {
    const split = {
      columns: ['p', 'q'],
      data: [
        [1, 2],
        [3, 4],
      ],
    }
    expect(features(JSON_TYPE, { dataframe_split: split }, unnamed)).toEqual(expected)
    expect(features(CSV, 'p,q\n1,2\n3,4\n', unnamed)).toEqual(expected)
    const three = { columns: ['p', 'q', 'r'], data: [[1, 2, 3]] }
    expect(refusal(JSON_TYPE, { dataframe_split: three }, unnamed)).toBe(
      "400 Input 'features' takes 2 columns and names none, so they are taken in their order; the request has 3",
    )
  })

  it('has missing values as null', () => {
    expect(features(JSON_TYPE, { dataframe_split: { columns: ['age', 'income'], data: [[null, 2]] } })).toEqual(
      Float32Array.of(NaN, 2),
    )
  })
})

describe('JSON as Python writes it', () => {
  it('has words for missing and infinite values, which are none within strings', () => {
    const split = '{"dataframe_split":{"columns":["age","income"],"data":[[NaN,-Infinity],[Infinity, 1.5]]}}'
    expect(features(JSON_TYPE, split)).toEqual(Float32Array.of(NaN, -Infinity, Infinity, 1.5))
    const records = '{"dataframe_records":[{"age":1,"city":"NaN \\\\\\" Infinity","extra":NaN}]}'
    expect(inputsOf(JSON_TYPE, records, perColumn).city!.data).toEqual(['NaN \\" Infinity'])
    expect(refusal(JSON_TYPE, '{"instances":[[1, NaN')).toContain('400 The request is not valid JSON')
    expect(refusal(JSON_TYPE, '{"instances":[[1, "NaN')).toContain('400 The request is not valid JSON')
  })
})

describe('tensors', () => {
  it('are rows in instances, and a whole or columns in inputs', () => {
    const expected = Float32Array.of(1, 2, 3, 4)
    for (const body of [
      {
        instances: [
          [1, 2],
          [3, 4],
        ],
      },
      { instances: [{ features: [1, 2] }, { features: [3, 4] }] },
      {
        inputs: [
          [1, 2],
          [3, 4],
        ],
        params: { temperature: 0.5 },
      },
      {
        inputs: {
          features: [
            [1, 2],
            [3, 4],
          ],
        },
      },
      { inputs: { age: [1, 3], income: [2, 4] }, params: null },
    ])
      expect(features(JSON_TYPE, body)).toEqual(expected)
  })
})

describe('CSV', () => {
  it('has its columns by name, in any order and with others besides', () => {
    expect(features(CSV, 'id,income,age\r\na,2,1\r\nb,4,3\r\n')).toEqual(Float32Array.of(1, 2, 3, 4))
  })

  it('means by a text what the model takes', () => {
    expect(inputsOf(CSV, 'age,city\n"30","3,5 km\n""Bern"""\n9007199254740993,\n', perColumn)).toEqual({
      age: { datatype: 'INT64', shape: [2, 1], data: BigInt64Array.of(30n, 9_007_199_254_740_993n) },
      city: { datatype: 'BYTES', shape: [2, 1], data: ['3,5 km\n"Bern"', ''] },
    })
  })

  it('misses a value where there is none, or one of the words for it', () => {
    expect(features(CSV, 'age,income\n,NaN\nNA,"null"\n1e3,-inf\n')).toEqual(
      Float32Array.of(NaN, NaN, NaN, NaN, 1_000, -Infinity),
    )
    expect(refusal(CSV, 'age,city\n,Bern\n', perColumn)).toContain(`400 Input 'age', row 0: a missing value can't be`)
  })

  it.each<[string, string, string]>([
    ['is empty', '', '400 The CSV is empty'],
    ['has no rows', 'age,income\n', '400 The request has no rows'],
    ['lacks columns', 'age\n1\n', `400 The request lacks the columns 'income', which the model takes; it has 'age'`],
    ['names one twice', 'age,age\n1,2\n', `400 Column 'age' is there twice`],
    ['has a row that is too short', 'age,income\n1,2\n3\n', '400 Row 1 is 1 values, but there are 2 columns'],
    ['leaves a quote open', 'age,income\n1,"2\n', '400 Record 1 of the CSV has a quote that is not closed'],
    ['goes on behind a quote', 'age,income\n1,"2"3\n', '400 Record 1 of the CSV goes on behind a closing quote'],
    ['holds text for a number', 'age,income\n1,x\n', `400 Column 'income', row 0: the text "x" can't be FP32`],
  ])('that %s is refused', (_when, csv, says) => {
    expect(refusal(CSV, csv)).toContain(says)
  })
})

describe('the reader of CSV', () => {
  it('knows quotes, line ends of every kind, empty fields and a mark at the start', () => {
    expect(parseCsv('\uFEFFa,b\r\n"x,""y""\r\n",\r,""\n')).toEqual([
      ['a', 'b'],
      ['x,"y"\r\n', null],
      [null, ''],
    ])
    expect(parseCsv('a\n\n""\nb')).toEqual([['a'], [''], ['b']])
    expect(parseCsv('a,')).toEqual([['a', null]])
    expect(parseCsv('')).toEqual([])
  })

  it('gives back any fields that were written with quotes', () => {
    const records = fc.integer({ min: 1, max: 4 }).chain((width) =>
      fc.array(
        fc.array(fc.string({ unit: fc.constantFrom('"', ',', '\r', '\n', 'a', ' ') }), {
          minLength: width,
          maxLength: width,
        }),
      ),
    )
    fc.assert(
      fc.property(records, fc.constantFrom('\n', '\r\n', '\r'), (wanted, end) => {
        const text = wanted
          .map((record) => record.map((field) => `"${field.replaceAll('"', '""')}"`).join(','))
          .join(end)
        expect(parseCsv(text)).toEqual(wanted)
      }),
    )
  })
})

describe('what is asked for otherwise', () => {
  it('is 415 for other types and encodings', () => {
    for (const type of [undefined, '', 'text/plain', 'application/json; charset=utf-16', 'text/csv;charset=latin1'])
      expect(refusal(type, '{}')).toMatch(/^415 Content-Type .* send application\/json or text\/csv, in UTF-8$/)
  })

  it('is not told from the usual by letters, spaces and parameters', () => {
    for (const type of [
      'application/json; charset=utf-8',
      'Application/JSON ;charset="UTF-8"',
      'application/json;format=x',
    ])
      expect(features(type, { instances: [[1, 2]] })).toEqual(Float32Array.of(1, 2))
  })

  it.each<[string, unknown, string]>([
    ['no form', { params: {} }, '400 The request must have exactly one of'],
    ['two forms', { instances: [[1, 2]], inputs: [[1, 2]] }, `and has 'instances' and 'inputs'`],
    ['rows that are no list', { instances: {} }, `400 'instances' must be a list`],
    ['records that are none', { dataframe_records: [[1, 2]] }, `400 'dataframe_records' must be a list of objects`],
    ['no records', { dataframe_records: [] }, '400 The request has no rows'],
    ['a frame that is none', { dataframe_split: [] }, `400 'dataframe_split' must be an object`],
    ['a frame without data', { dataframe_split: { columns: ['age'] } }, `400 'dataframe_split' must be an object`],
    [
      'columns that are no list',
      { dataframe_split: { columns: 'age', data: [] } },
      `400 'columns' of 'dataframe_split'`,
    ],
    [
      'a frame whose rows do not fit',
      { dataframe_split: { columns: ['age', 'income'], data: [[1]] } },
      '400 Row 0 is 1 values',
    ],
    ['no JSON', '{', '400 The request is not valid JSON'],
  ])('is 400 for %s', (_what, body, says) => {
    expect(refusal(JSON_TYPE, body)).toContain(says)
  })

  it('has errors of its own shape', () => {
    expect(JSON.parse(mlflowErrorBody('a "b"'))).toEqual({ error_code: 'BAD_REQUEST', message: 'a "b"' })
  })

  it('is a request, a 400 or a 415, whatever comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), fc.constantFrom(JSON_TYPE, CSV), (text, type) => {
        expect(outcomeOf(() => mlflowToInfer(type, Buffer.from(text), perColumn))).toBeOneOf(['read', 400])
      }),
    )
  })
})

it('answers as KServe v1 does', () => {
  const y: Tensor = { datatype: 'FP32', shape: [2, 1], data: Float32Array.of(0.5, 1) }
  const answer = encodeInferAnswer({ modelName: 'm', modelVersion: '1', id: null, outputs: { y } })
  expect(mlflowFromAnswer(answer).toString()).toBe('{"predictions":[[0.5],[1]]}')
})
