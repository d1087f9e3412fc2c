import { describe, expect, it } from 'vitest'
import type { Signature } from '../model/signature.ts'
import { faultInAnswer } from './check-answer.ts'
import { owedAnswer } from './owed-answer.ts'
import { atOnce } from './steps.ts'

const signature: Signature = {
  inputs: [
    { name: 'x', datatype: 'FP32', shape: [-1, 2], columns: null },
    { name: 'fixed', datatype: 'FP32', shape: [3], columns: null },
  ],
  outputs: [
    { name: 'y', datatype: 'FP32', shape: [-1], columns: null },
    { name: 'p', datatype: 'FP32', shape: [-1, 2], columns: null },
    { name: 'v', datatype: 'FP32', shape: [-1, -1], columns: null },
  ],
}

const json = (value: unknown) => ({ body: Buffer.from(JSON.stringify(value)), jsonBytes: null })
const asked = (rows: number, outputs?: string[]) =>
  json({
    inputs: [
      { name: 'fixed', datatype: 'FP32', shape: [3], data: [0, 0, 0] },
      { name: 'x', datatype: 'FP32', shape: [rows, 2], data: Array.from({ length: rows * 2 }, () => 1) },
    ],
    ...(outputs && { outputs: outputs.map((name) => ({ name })) }),
  })

const owed = (rows: number, outputs?: string[]) => atOnce(owedAnswer(asked(rows, outputs), signature))
const fault = (answer: { body: Buffer; jsonBytes: number | null }, rows = 2, outputs = ['y']) =>
  atOnce(faultInAnswer(answer, signature, owed(rows, outputs)))
/** An output `y` of FP32, with what a test changes. */
const answerOf = (change: object, ...more: object[]) =>
  json({ outputs: [{ name: 'y', datatype: 'FP32', shape: [2], data: [1, 2], ...change }, ...more] })
const written = (data: string, shape = '[2]', datatype = 'FP32') => ({
  body: Buffer.from(`{"outputs":[{"name":"y","datatype":"${datatype}","shape":${shape},"data":${data}}]}`),
  jsonBytes: null,
})

describe('what a request is owed', () => {
  it('is as many rows as it has, and the outputs that it asks for', () => {
    expect(owed(5)).toEqual({ rows: 5, outputs: ['y', 'p', 'v'] })
    expect(owed(0, ['p', 'unknown'])).toEqual({ rows: 0, outputs: ['p'] })
  })

  it('is every output of a raw request, whose rows nobody has counted', () => {
    const raw = { body: Buffer.alloc(8), jsonBytes: 0 }
    expect(atOnce(owedAnswer(raw, signature))).toEqual({ rows: null, outputs: ['y', 'p', 'v'] })
  })

  it.each(['[]', '{"inputs":1', '{"inputs":[{"name":"x","shape":[-1,2]}],"outputs":[{}]}'])(
    'is nothing for a request that is none: %s',
    (text) => {
      const request = { body: Buffer.from(text), jsonBytes: null }
      expect(atOnce(owedAnswer(request, signature))).toEqual({ rows: null, outputs: [] })
    },
  )
})

describe('the answer of a server of someone else', () => {
  it.each([
    ['flat', answerOf({})],
    ['nested', answerOf({ shape: [2, 1], data: [[1], [2]] })],
    ['with null for what is missing', answerOf({ data: [null, 2] })],
    ['of another type than was declared', answerOf({ datatype: 'INT64', data: [1, 2] })],
    ['with an output besides', answerOf({}, { name: 'more', datatype: 'BYTES', shape: [1], data: ['a,b]"'] })],
    ['with lists of nothing', answerOf({}, { name: 'v', datatype: 'FP32', shape: [2, 0], data: [[], []] })],
  ])('is let through: %s', (_how, answer) => {
    expect(fault(answer)).toBe(null)
  })

  it.each([
    ['too few rows', answerOf({ shape: [1], data: [1] }), "output 'y' has 1 rows, and the request has 2"],
    ['no rows at all', answerOf({ shape: [], data: [1] }), "output 'y' has no rows, and the request has 2"],
    ['more values than its shape', answerOf({ data: [1, 2, 3] }), "output 'y' has 3 values, and its shape [2] takes 2"],
    ['fewer values', answerOf({ data: [1] }), "output 'y' has 1 values, and its shape [2] takes 2"],
    ['values without a shape for them', written('[1]', '[0]'), "output 'y' has 0 rows, and the request has 2"],
    [
      'another width',
      answerOf({ shape: [2, 2], data: [1, 2, 3, 4] }),
      /'y' has the shape \[2, 2\], and the model gives/,
    ],
    ['no output of that name', json({ outputs: [] }), "output 'y' is missing"],
    ['no outputs', json({ outputs: {} }), "the answer has no list of 'outputs'"],
    ['no data', answerOf({ data: undefined }), "output 'y' has no 'data'"],
    ['data that is no list', answerOf({ data: 'AAAA' }), "output 'y' has no 'data'"],
    ['an output without a name', answerOf({ name: 1 }), "one of its outputs has no 'name'"],
    [
      'an output twice',
      answerOf({}, { name: 'y', datatype: 'FP32', shape: [2], data: [1, 2] }),
      "output 'y' is there twice",
    ],
    ['a type that is none', answerOf({ datatype: 'FLOAT' }), `output 'y' has the datatype "FLOAT"`],
    ['a shape that is none', answerOf({ shape: [-1] }), "output 'y' has no 'shape' that is one"],
    ['text for a number', answerOf({ data: ['1', 2] }), `value 0 of output 'y' is "1", which is not FP32`],
    ['a number out of range', written('[1,1e39]'), `value 1 of output 'y' is 1e+39, which is not FP32`],
    [
      'a number that only infinity holds',
      written('[1e999,1]', '[2]', 'FP64'),
      /value 0 .* is Infinity, which is not FP64/,
    ],
    ['null for an integer', answerOf({ datatype: 'INT32', data: [1, null] }), /value 1 .* is null, which is not INT32/],
    ['a byte that is more', answerOf({ datatype: 'UINT8', data: [1, 256] }), /value 1 .* is 256, which is not UINT8/],
    ['NaN', written('[1,NaN]'), /'data' of output 'y' is not valid JSON: it holds NaN, which JSON can't carry/],
    ['-Infinity', written('[[-Infinity],[1]]', '[2,1]'), /it holds -Infinity, which JSON can't carry/],
    ['NaN among texts', written('["NaN",NaN]', '[2]', 'BYTES'), /it holds NaN/],
    ['no JSON', written('[1,"NaN" 2]'), /'data' of output 'y' is not valid JSON: (?!it holds)/],
    ['brackets that do not match', written('[[1,2],[3]', '[2]'), /not valid JSON/],
    ['brackets that end early', written('[1],[2]', '[2]'), /not valid JSON/],
    ['a comma too many', written('[1,2,]'), /not valid JSON/],
  ])('is refused with %s', (_what, answer, why) => {
    expect(fault(answer)).toMatch(why)
  })

  it('is read in steps where it is large, and its faults are found wherever they are', () => {
    const rows = 100_000
    const values = Array.from({ length: rows }, (_, i) => i / 8)
    const whole = answerOf({ shape: [rows], data: values })
    const owes = owed(rows, ['y'])
    let steps = 0
    for (const _ of faultInAnswer(whole, signature, owes)) steps += 1
    expect(steps).toBeGreaterThan(5)
    expect(atOnce(faultInAnswer(whole, signature, owes))).toBe(null)
    const nested = answerOf({ shape: [rows, 1], data: values.map((value) => [value]) })
    expect(atOnce(faultInAnswer(nested, signature, owes))).toBe(null)
    const wrong = answerOf({ shape: [rows], data: values.with(90_001, 'x' as never) })
    expect(atOnce(faultInAnswer(wrong, signature, owes))).toBe(`value 90001 of output 'y' is "x", which is not FP32`)
    const texts = values.map((value) => `"],[${value}\\`)
    const told = answerOf({ datatype: 'BYTES', shape: [rows], data: texts })
    expect(atOnce(faultInAnswer(told, signature, owes))).toBe(null)
    const open = Buffer.concat([whole.body.subarray(0, -4), Buffer.from(',]}]}')])
    expect(atOnce(faultInAnswer({ body: open, jsonBytes: null }, signature, owes))).toMatch(/not valid JSON/)
  })

  it('has as many bytes behind its JSON as its outputs say', () => {
    const head = (size: unknown, shape = [2], datatype = 'FP32') =>
      Buffer.from(JSON.stringify({ outputs: [{ name: 'y', datatype, shape, parameters: { binary_data_size: size } }] }))
    const binary = (json: Buffer, bytes: number[]) => ({
      body: Buffer.concat([json, Buffer.from(bytes)]),
      jsonBytes: json.length,
    })
    expect(fault(binary(head(8), [0, 0, 0, 0, 0, 0, 0, 0]))).toBe(null)
    expect(fault(binary(head(8), [0, 0, 0, 0]))).toBe("output 'y' has 4 bytes, and says that it has 8")
    expect(fault(binary(head(4), [0, 0, 0, 0]))).toMatch(/^output 'y': shape \[2\] of FP32 takes 8 bytes, not 4$/)
    expect(
      fault(
        binary(
          head(8),
          Array.from({ length: 9 }, () => 0),
        ),
      ),
    ).toBe('1 bytes of the answer belong to none of its outputs')
    expect(fault(binary(head('8'), []))).toBe(`output 'y' has a 'binary_data_size' of "8"`)
    expect(fault(binary(head(5, [2], 'BYTES'), [1, 0, 0, 0, 97]))).toMatch(/^output 'y': 2 elements of BYTES take/)
  })
})
