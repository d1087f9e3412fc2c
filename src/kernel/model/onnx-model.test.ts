import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import * as onnx from '../../testing/onnx-builder.ts'
import { inspectOnnx, openModel } from './onnx-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-onnx-'))
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
const file = (model: Uint8Array): string => onnx.writeModel(join(folder, `${(count += 1)}.onnx`), model)

describe('a file that can be served', () => {
  it('is described by its own words, without its initializers among the inputs', async () => {
    const facts = await inspectOnnx(file(onnx.logisticModel({ weights: [1, 2], metadata: { trainer: 'me' } })))
    expect(facts).toMatchObject({
      irVersion: 8,
      producer: 'millrace-test',
      opsets: [
        { domain: '', version: 17 },
        { domain: 'ai.onnx.ml', version: 3 },
      ],
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
      outputs: [
        { name: 'label', datatype: 'INT64', shape: [-1] },
        { name: 'probabilities', datatype: 'FP32', shape: [-1, 2] },
      ],
      metadata: { trainer: 'me' },
    })
  })

  it('leaves out inputs that are initializers, as old exporters list them', async () => {
    const facts = await inspectOnnx(
      file(
        onnx.onnxModel({
          nodes: [onnx.node('MatMul', ['x', 'w'], ['y'])],
          initializers: [onnx.floatTensor('w', [2, 1], [1, 1])],
          inputs: [onnx.tensorValue('x', 'float', ['', 2]), onnx.tensorValue('w', 'float', [2, 1])],
          outputs: [onnx.tensorValue('y', 'float', null)],
        }),
      ),
    )
    expect(facts.inputs).toEqual([{ name: 'x', datatype: 'FP32', shape: [-1, 2] }])
    expect(facts.outputs).toEqual([{ name: 'y', datatype: 'FP32', shape: null }])
  })

  it('computes', async () => {
    const model = await openModel(file(onnx.linearModel({ weights: [2, 3], bias: 1 })))
    const { y } = await model.run({ x: { datatype: 'FP32', shape: [2, 2], data: Float32Array.of(1, 1, 10, 100) } })
    expect(y).toEqual({ datatype: 'FP32', shape: [2, 1], data: Float32Array.of(6, 321) })
    await model.close()
  })

  it.each([
    ['int64', 'INT64', BigInt64Array.of(2n ** 53n + 1n, -(2n ** 63n))],
    ['uint64', 'UINT64', BigUint64Array.of(2n ** 64n - 1n, 0n)],
    ['double', 'FP64', Float64Array.of(0.1, 1e300)],
    ['float16', 'FP16', Uint16Array.of(0x3c00, 0xfbff)],
    ['bool', 'BOOL', Uint8Array.of(1, 0)],
    ['int8', 'INT8', Int8Array.of(-128, 127)],
    ['uint16', 'UINT16', Uint16Array.of(0, 65_535)],
    ['string', 'BYTES', ['Grüße 😀', '']],
  ] as const)('hands %s through unchanged', async (element, datatype, data) => {
    const model = await openModel(file(onnx.identityModel(element, ['N'])))
    const x = { datatype, shape: [2], data: Array.isArray(data) ? [...data] : data } as never
    expect((await model.run({ x })).y).toEqual(x)
    await model.close()
  })

  it('computes only the outputs that are named', async () => {
    const model = await openModel(file(onnx.logisticModel({ weights: [1] })))
    const outputs = await model.run({ x: { datatype: 'FP32', shape: [1, 1], data: Float32Array.of(0) } }, [
      'probabilities',
    ])
    expect(Object.keys(outputs)).toEqual(['probabilities'])
    await model.close()
  })

  it('says what was wrong with values it can not compute', async () => {
    const model = await openModel(file(onnx.lookupModel([1, 2])))
    await expect(model.run({ x: { datatype: 'INT64', shape: [1], data: BigInt64Array.of(7n) } })).rejects.toMatchObject(
      {
        code: 'MR_MODEL_RUN',
        message: expect.stringContaining('out of data bounds'),
      },
    )
    await model.close()
  })

  it.each([
    ['a list', [3], [-1], ['y']],
    ['a column', [3, 1], [-1, 1], ['y']],
    ['wide', [3, 2], [-1, -1], null],
  ] as const)(
    'shows what the file does not say: an output of unknown rank that is %s',
    async (_what, of, shape, columns) => {
      const squared = onnx.onnxModel({
        nodes: [onnx.node('Mul', ['x', 'x'], ['y'])],
        inputs: [onnx.tensorValue('x', 'float', ['', ...of.slice(1)])],
        outputs: [onnx.tensorValue('y', 'float', null)],
      })
      const model = await openModel(file(squared))
      expect(model.signature.outputs).toEqual([{ name: 'y', datatype: 'FP32', shape, columns }])
      await model.close()
    },
  )

  it('loads weights from a file beside it, whatever the working directory', async () => {
    writeFileSync(join(folder, 'weights.bin'), Buffer.from(Float32Array.of(3, 4).buffer))
    const model = await openModel(file(onnx.externalDataModel(2, 'weights.bin')))
    const { y } = await model.run({ x: { datatype: 'FP32', shape: [1, 2], data: Float32Array.of(1, 1) } })
    expect(model.facts.externalFiles).toEqual(['weights.bin'])
    expect([...(y!.data as Float32Array)]).toEqual([7])
    await model.close()
  })
})

describe('columns', () => {
  const columnsOf = async (model: Uint8Array, features?: string[]) => {
    const opened = await openModel(file(model), { features })
    await opened.close()
    return opened.signature.inputs.map(({ columns }) => columns)
  }

  it('are the names of the inputs where each column has its own', async () => {
    expect(
      await columnsOf(
        onnx.columnModel([
          { name: 'age', weight: 1 },
          { name: 'city', values: { A: 1 } },
        ]),
      ),
    ).toEqual([['age'], ['city']])
  })

  it('of one wide input come from the configuration, else from the file, else are unknown', async () => {
    const named = { 'millrace.features': '["a","b"]' }
    expect(await columnsOf(onnx.linearModel({ weights: [1, 2], metadata: named }), ['c', 'd'])).toEqual([['c', 'd']])
    expect(await columnsOf(onnx.linearModel({ weights: [1, 2], metadata: named }))).toEqual([['a', 'b']])
    expect(await columnsOf(onnx.linearModel({ weights: [1, 2] }))).toEqual([null])
  })

  it('must be as many as the input is wide', async () => {
    await expect(columnsOf(onnx.linearModel({ weights: [1, 2] }), ['a', 'b', 'c'])).rejects.toMatchObject({
      code: 'MR_MODEL_FEATURES',
      message: expect.stringContaining('takes 2 columns, but 3 features are named: a, b, c'),
    })
  })

  it('must differ, and be a list of names in the file', async () => {
    await expect(columnsOf(onnx.linearModel({ weights: [1, 2] }), ['a', 'a'])).rejects.toMatchObject({
      code: 'MR_MODEL_FEATURES',
    })
    await expect(
      columnsOf(onnx.linearModel({ weights: [1], metadata: { 'millrace.features': 'age' } })),
    ).rejects.toMatchObject({
      code: 'MR_MODEL_FEATURES',
    })
  })

  it('give a shape to an input that has none', async () => {
    const model = await openModel(file(onnx.identityModel('float', null)), { features: ['a', 'b'] })
    expect(model.signature.inputs[0]).toMatchObject({ shape: [-1, 2], columns: ['a', 'b'] })
    await model.close()
  })
})

describe('a file that can not be served', () => {
  const refused = async (path: string) => {
    try {
      await (await openModel(path)).close()
    } catch (error) {
      return error as { code: string; message: string; fix: string }
    }
    throw new Error('it was not refused')
  }

  it('may be missing or empty', async () => {
    expect(await refused(join(folder, 'nothing.onnx'))).toMatchObject({ code: 'MR_MODEL_MISSING' })
    expect(await refused(file(new Uint8Array(0)))).toMatchObject({ code: 'MR_MODEL_EMPTY' })
  })

  it.each([
    ['a pickle', Uint8Array.of(0x80, 4, 0x95, 1), 'pickle'],
    ['a zip', new TextEncoder().encode('PK\u0003\u0004 and so on'), 'zip'],
    ['text', new TextEncoder().encode('weights: 1, 2, 3'), 'not an ONNX file'],
    ['JSON', new TextEncoder().encode('{"a": 1}'), 'JSON'],
    ['zeros', new Uint8Array(1_000), 'not an ONNX file'],
  ])('may be %s', async (_what, bytes, says) => {
    const error = await refused(file(bytes))
    expect(error.code).toBe('MR_MODEL_NOT_ONNX')
    expect(error.message).toContain(says)
  })

  it('may be cut off anywhere', async () => {
    const whole = onnx.logisticModel({ weights: [1, 2, 3] })
    // Behind the graph come only lists of opsets, at whose seams nothing tells a shorter list from a cut one.
    for (let length = 1; length < whole.length - 40; length += 7) {
      expect((await refused(file(whole.subarray(0, length)))).code).toMatch(
        /^MR_MODEL_(CORRUPT|NOT_ONNX|UNSUPPORTED_OPERATOR|LOAD)$/,
      )
    }
  })

  it.each(['bfloat16', 'complex64'] as const)('may take %s', async (element) => {
    const error = await refused(file(onnx.identityModel(element, ['N', 2])))
    expect(error).toMatchObject({ code: 'MR_MODEL_UNSUPPORTED_TYPE', message: expect.stringContaining(`Input 'x'`) })
    expect(error.message).toContain(element)
  })

  it('may take a sequence', async () => {
    expect(await refused(file(onnx.sequenceInputModel()))).toMatchObject({
      code: 'MR_MODEL_UNSUPPORTED_TYPE',
      message: expect.stringContaining('sequence'),
    })
  })

  it('may return dictionaries: then the way out is named', async () => {
    expect(await refused(file(onnx.zipMapModel([1, 2])))).toMatchObject({
      code: 'MR_MODEL_ZIPMAP',
      fix: expect.stringContaining(`options={'zipmap': False}`),
    })
  })

  it('may need an operator of a foreign domain, or one that does not exist', async () => {
    expect(await refused(file(onnx.customOperatorModel('com.example')))).toMatchObject({
      code: 'MR_MODEL_UNSUPPORTED_OPERATOR',
      message: expect.stringContaining(`'Frobnicate' of domain 'com.example'`),
    })
    expect(await refused(file(onnx.customOperatorModel('')))).toMatchObject({
      code: 'MR_MODEL_UNSUPPORTED_OPERATOR',
      message: expect.stringContaining('Frobnicate'),
    })
  })

  it.each([{ opset: 99 }, { irVersion: 99 }])('may come from the future: %o', async (version) => {
    const parts = {
      nodes: [onnx.node('Relu', ['x'], ['y'])],
      inputs: [onnx.tensorValue('x', 'float', ['N'])],
      outputs: [onnx.tensorValue('y', 'float', ['N'])],
    }
    expect(await refused(file(onnx.onnxModel({ ...parts, ...version })))).toMatchObject({
      code: 'MR_MODEL_UNSUPPORTED_OPERATOR',
      message: expect.stringContaining('newer ONNX Runtime'),
    })
  })

  it('may contradict itself', async () => {
    const model = onnx.onnxModel({
      nodes: [onnx.node('MatMul', ['x', 'w'], ['y'])],
      initializers: [onnx.floatTensor('w', [3, 1], [1, 2, 3])],
      inputs: [onnx.tensorValue('x', 'float', ['N', 2])],
      outputs: [onnx.tensorValue('y', 'float', ['N', 1])],
    })
    expect(await refused(file(model))).toMatchObject({
      code: 'MR_MODEL_LOAD',
      message: expect.stringContaining('Incompatible dimensions'),
    })
  })

  it('may mix types, as converters do with a table that does', async () => {
    const model = onnx.onnxModel({
      nodes: [onnx.node('Add', ['x', 'z'], ['y'])],
      inputs: [onnx.tensorValue('x', 'float', ['N', 1]), onnx.tensorValue('z', 'double', ['N', 1])],
      outputs: [onnx.tensorValue('y', 'float', ['N', 1])],
    })
    expect(await refused(file(model))).toMatchObject({
      code: 'MR_MODEL_LOAD',
      message: expect.stringContaining('Type Error'),
      fix: expect.stringContaining('float32'),
    })
  })

  it('may keep weights elsewhere, or have lost them', async () => {
    expect(await refused(file(onnx.externalDataModel(2, '../../etc/passwd')))).toMatchObject({
      code: 'MR_MODEL_EXTERNAL_DATA',
      message: expect.stringContaining('outside its own folder'),
    })
    expect(await refused(file(onnx.externalDataModel(2, 'lost.bin')))).toMatchObject({
      code: 'MR_MODEL_EXTERNAL_DATA',
      message: expect.stringContaining('missing'),
    })
  })

  it('may not say how many axes its input has, or have too many', async () => {
    expect(await refused(file(onnx.identityModel('float', null)))).toMatchObject({ code: 'MR_MODEL_SHAPE' })
    expect(
      await refused(
        file(
          onnx.identityModel(
            'float',
            Array.from({ length: 17 }, () => 1),
          ),
        ),
      ),
    ).toMatchObject({
      code: 'MR_MODEL_SHAPE',
      message: expect.stringContaining('17 axes'),
    })
  })

  it('may have inputs that can not be addressed', async () => {
    expect(await refused(file(onnx.identityModel('float', ['N'], { input: '__proto__' })))).toMatchObject({
      code: 'MR_MODEL_SHAPE',
    })
  })

  it('is never a crash: any byte changed', async () => {
    const whole = onnx.logisticModel({ weights: [1, 2, 3] })
    const codes = new Set<string>()
    for (let seed = 1; seed < 200; seed += 1) {
      const broken = Buffer.from(whole)
      broken[(seed * 7_919) % whole.length] = (seed * 104_729) % 256
      codes.add(
        await inspectOnnx(file(broken)).then(
          () => 'MR_MODEL_FINE',
          (error: { code: string }) => String(error.code),
        ),
      )
    }
    expect([...codes].filter((code) => !code.startsWith('MR_MODEL_'))).toEqual([])
  })
})
