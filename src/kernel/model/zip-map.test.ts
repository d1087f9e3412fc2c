import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import * as onnx from '../../testing/onnx-builder.ts'
import { inspectOnnx, openModel } from './onnx-model.ts'
import { servingNotes } from './serving-notes.ts'
import { rewriteZipMaps } from './zip-map.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-zipmap-'))
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
const file = (model: Uint8Array): string => onnx.writeModel(join(folder, `${(count += 1)}.onnx`), model)
const target = (): string => join(folder, `${(count += 1)}-rewritten.onnx`)
const digestOf = (path: string) => `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`

const zip = (input: string, output: string, labels: onnx.Attribute, key = 'classlabels_strings') =>
  onnx.node('ZipMap', [input], [output], { [key]: labels }, 'ai.onnx.ml')

/** Two columns straight through to a ZipMap, with more nodes as a test wants them. */
const model = (parts: Partial<onnx.GraphParts> & { labels?: onnx.Attribute; key?: string }) =>
  onnx.onnxModel({
    nodes: [
      onnx.node('Identity', ['x'], ['p']),
      zip('p', 'zipped', parts.labels ?? { texts: ['no', 'yes'] }, parts.key),
      ...(parts.nodes ?? []),
    ],
    inputs: [onnx.tensorValue('x', 'float', ['N', 2]), ...(parts.inputs ?? [])],
    outputs: [onnx.sequenceOfMapsValue('zipped'), ...(parts.outputs ?? [])],
    ...(parts.metadata ? { metadata: parts.metadata } : {}),
    ...(parts.opset ? { opset: parts.opset } : {}),
  })

describe('a model that ends in ZipMap', () => {
  it('is rewritten to give its probabilities as a tensor, and keeps the class labels', async () => {
    const source = file(onnx.zipMapModel([1, -2]))
    const path = target()
    expect(await rewriteZipMaps(source, path)).toEqual({
      original: digestOf(source),
      outputs: [{ name: 'output_probability', classes: ['0', '1'] }],
    })
    const opened = await openModel(path)
    expect(opened.signature.outputs).toEqual([
      { name: 'output_label', datatype: 'INT64', shape: [-1], columns: ['output_label'] },
      { name: 'output_probability', datatype: 'FP32', shape: [-1, 2], columns: ['0', '1'] },
    ])
    const x = { datatype: 'FP32' as const, shape: [2, 2], data: Float32Array.of(0, 0, 3, 1) }
    const outputs = await opened.run({ x })
    const p = Math.fround(1 / (1 + Math.exp(-1)))
    expect([...outputs['output_label']!.data]).toEqual([0n, 1n])
    expect(outputs['output_probability']!.shape).toEqual([2, 2])
    const [first, second, , last] = outputs['output_probability']!.data as Float32Array
    expect([first, second]).toEqual([0.5, 0.5])
    expect(last).toBeCloseTo(p, 6)
    await opened.close()
  })

  it('says what was done in the file itself, for people', async () => {
    const source = file(model({ metadata: { trainer: 'me' } }))
    const path = target()
    await rewriteZipMaps(source, path)
    const facts = await inspectOnnx(path)
    expect(facts.metadata).toEqual({
      trainer: 'me',
      'millrace.classes': '{"zipped":["no","yes"]}',
      'millrace.original': digestOf(source),
    })
    expect(servingNotes(facts)).toEqual([
      `output 'zipped' came as a list of dictionaries (ZipMap) and is served as FP32 [-1, 2], one column for each of the classes no, yes; the file as it was written is ${digestOf(source)}`,
    ])
  })

  it('gives the same bytes each time, so that registering it again changes nothing', async () => {
    const source = file(onnx.zipMapModel([1, 2]))
    const [first, second] = [target(), target()]
    await rewriteZipMaps(source, first)
    await rewriteZipMaps(source, second)
    expect(digestOf(first)).toBe(digestOf(second))
  })

  it('leaves every other byte as it is, weights included', async () => {
    const values = Array.from({ length: 4_096 }, (_, i) => i / 7)
    const weights = onnx.floatTensor('w', [values.length], values)
    const source = file(
      onnx.onnxModel({
        nodes: [onnx.node('Identity', ['x'], ['p']), zip('p', 'zipped', { texts: ['a', 'b'] })],
        initializers: [weights],
        inputs: [onnx.tensorValue('x', 'float', ['N', 2])],
        outputs: [onnx.sequenceOfMapsValue('zipped')],
        metadata: { note: 'kept' },
      }),
    )
    const path = target()
    await rewriteZipMaps(source, path)
    const rewritten = readFileSync(path)
    expect(rewritten.includes(Buffer.from(weights))).toBe(true)
    expect(rewritten.includes(Buffer.from(onnx.node('Identity', ['x'], ['p'])))).toBe(true)
    expect(rewritten.includes(Buffer.from('ZipMap'))).toBe(false)
  })

  it.each([
    ['negative and large integers', { ints: [-5, 2 ** 40] }, ['-5', String(2 ** 40)]],
    ['one class', { ints: [7] }, ['7']],
  ])('reads labels that are %s', async (_what, labels, classes) => {
    const path = target()
    const rewritten = await rewriteZipMaps(file(model({ labels, key: 'classlabels_int64s' })), path)
    expect(rewritten?.outputs).toEqual([{ name: 'zipped', classes }])
  })

  it('is left to be refused where a label is a number without an end', async () => {
    const bytes = Buffer.from(model({ labels: { texts: ['x'.repeat(200)] } }))
    const at = bytes.indexOf('xxx')
    bytes[at - 3] = 8 * 8 + 2 // integers, packed
    bytes.fill(0x80, at, at + 200)
    const path = target()
    expect(await rewriteZipMaps(file(bytes), path)).toBeNull()
    expect(existsSync(path)).toBe(false)
  })

  it('gives FP32 also where the converter hands it doubles, which no runtime loads', async () => {
    const source = file(
      onnx.onnxModel({
        nodes: [onnx.node('Identity', ['x'], ['p']), zip('p', 'zipped', { texts: ['no', 'yes'] })],
        inputs: [onnx.tensorValue('x', 'double', ['N', 2])],
        outputs: [onnx.sequenceOfMapsValue('zipped')],
      }),
    )
    await expect(openModel(source)).rejects.toThrow(/zipped/i)
    const path = target()
    await rewriteZipMaps(source, path)
    const opened = await openModel(path)
    expect(opened.signature.outputs).toEqual([
      { name: 'zipped', datatype: 'FP32', shape: [-1, 2], columns: ['no', 'yes'] },
    ])
    const x = { datatype: 'FP64' as const, shape: [1, 2], data: Float64Array.of(0.1, 0.9) }
    const { zipped } = await opened.run({ x })
    expect([...zipped!.data]).toEqual([Math.fround(0.1), Math.fround(0.9)])
    await opened.close()
  })

  it('has all of its ZipMaps taken out where there are several', async () => {
    const nodes = [zip('p', 'again', { texts: ['l', 'r'] })]
    const path = target()
    await rewriteZipMaps(file(model({ nodes, outputs: [onnx.sequenceOfMapsValue('again')] })), path)
    const opened = await openModel(path)
    expect(opened.signature.outputs.map(({ name, columns }) => [name, columns])).toEqual([
      ['zipped', ['no', 'yes']],
      ['again', ['l', 'r']],
    ])
    await opened.close()
  })

  it('is left alone where something else reads what ZipMap gives, and then refused', async () => {
    const nodes = [onnx.node('SequenceAt', ['zipped', 'i'], ['y'])]
    const source = file(model({ nodes, inputs: [onnx.tensorValue('i', 'int64', [])] }))
    const path = target()
    expect(await rewriteZipMaps(source, path)).toBeNull()
    expect(existsSync(path)).toBe(false)
    await expect(inspectOnnx(source)).rejects.toMatchObject({ code: 'MR_MODEL_ZIPMAP' })
  })
})

describe('a file without ZipMap', () => {
  it.each([
    ['a plain model', onnx.linearModel({ weights: [1] })],
    ['no model at all', new TextEncoder().encode('{"not": "onnx"}')],
    ['one that is cut off', onnx.zipMapModel([1, 2]).slice(0, 60)],
    ['an empty file', new Uint8Array()],
  ])('is left alone: %s', async (_what, bytes) => {
    const path = target()
    expect(await rewriteZipMaps(file(bytes), path)).toBeNull()
    expect(existsSync(path)).toBe(false)
  })
})

describe('class labels that a trainer has written itself', () => {
  it('name the columns of the output', async () => {
    const metadata = { 'millrace.classes': '{"probabilities":["stays","leaves"]}' }
    const opened = await openModel(file(onnx.logisticModel({ weights: [1], metadata })))
    expect(opened.signature.outputs.at(-1)?.columns).toEqual(['stays', 'leaves'])
    expect(servingNotes(opened.facts)).toEqual([])
    await opened.close()
  })

  it.each([
    ['{"probabilities":["one"]}', "names 1 classes for output 'probabilities', which is [-1, 2]"],
    ['["a","b"]', 'not a JSON object with a list of class labels'],
  ])('are refused where they do not fit: %s', async (classes, why) => {
    const path = file(onnx.logisticModel({ weights: [1], metadata: { 'millrace.classes': classes } }))
    await expect(openModel(path)).rejects.toMatchObject({
      code: 'MR_MODEL_FEATURES',
      message: expect.stringContaining(why),
    })
  })
})
