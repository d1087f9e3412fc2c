import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keepModelFile, modelFiles, registrationOf } from '../../src/control/registry/model-files.ts'
import type { Artifacts } from '../../src/kernel/artifacts/artifacts.ts'
import { openFsArtifacts } from '../../src/kernel/artifacts/fs/fs-artifacts.ts'
import { openModel } from '../../src/kernel/model/onnx-model.ts'
import { serveFile } from '../../src/testing/serve-file.ts'
import { runPythonFile, zooPython } from '../../src/testing/zoo-python.ts'

/*
 * Models as real converters write them (build_zoo.py), registered, served, and compared with what Python's onnxruntime
 * answers to the same rows.
 */

interface Tensor {
  datatype: string
  shape: number[]
  data: (number | string | boolean | null)[]
}

interface Case {
  requests: { inputs: (Tensor & { name: string })[]; outputs: Record<string, Tensor> }[]
  /** Labels of what Python gives as dictionaries. */
  classes: Record<string, string[]>
  skipped: string[]
  refused?: string
}

interface Zoo {
  dir: string
  built: string[]
  leftOut: Record<string, string>
}

const python = zooPython()
const zoo = python === null ? null : buildZoo(python)
const named = (isRefused: boolean) => (zoo?.built ?? []).filter((name) => name.startsWith('refused') === isRefused)

describe.skipIf(zoo === null)('models of real converters', () => {
  let dir: string
  let artifacts: Artifacts

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'mr-zoo-'))
    artifacts = openFsArtifacts(join(dir, 'artifacts'))
  })
  afterAll(() => {
    rmSync(dir, { recursive: true, force: true })
    if (zoo) rmSync(zoo.dir, { recursive: true, force: true })
  })

  const keep = (name: string) => keepModelFile(artifacts, join(zoo!.dir, name, 'model.onnx'), join(dir, 'scratch.onnx'))

  it('are there from every converter but those that were said to be missing', () => {
    for (const [name, why] of Object.entries(zoo!.leftOut)) console.warn(`Left out of the zoo: ${name} (${why})`)
    expect(Object.keys(zoo!.leftOut)).toEqual(['torch'])
    const families = ['sklearn', 'xgboost', 'lightgbm', 'catboost', 'weights', 'refused']
    const few = families.filter((family) => zoo!.built.filter((name) => name.startsWith(family)).length < 2)
    expect(few).toEqual([])
  })

  it.each(named(false))('%s answers as in Python', async (name) => {
    const { requests, classes, skipped } = caseOf(name)
    const kept = await keep(name)
    expect((await keep(name)).digest).toBe(kept.digest)
    for (const output of [...Object.keys(classes), ...skipped])
      expect(kept.notes.join('\n')).toContain(`output '${output}'`)

    const { path } = await modelFiles({ artifacts, dataDir: dir }, kept.digest)
    const model = await openModel(path)
    for (const [output, labels] of Object.entries(classes))
      expect(model.signature.outputs.find((spec) => spec.name === output)).toMatchObject({
        datatype: 'FP32',
        columns: labels,
      })
    await model.close()

    const served = await serveFile({ path, port: 0, name })
    try {
      for (const { inputs, outputs } of requests) {
        const answered = await infer(served.port, name, inputs)
        expect(answered).toMatchObject({ status: 200 })
        expect(differences(answered.outputs, outputs)).toEqual([])
      }
    } finally {
      await served.close()
    }
  })

  it('answer 400 to two rows where the file has a batch of one', async () => {
    const name = 'sklearn-fixed-batch'
    const served = await serveFile({ path: join(zoo!.dir, name, 'model.onnx'), port: 0, name })
    try {
      const [x] = caseOf(name).requests[0]!.inputs
      const twice = { ...x!, shape: [2, 4], data: [...x!.data, ...x!.data] }
      expect(await infer(served.port, name, [twice])).toMatchObject({
        status: 400,
        error: expect.stringContaining('shape [2, 4], but the model takes [1, 4]'),
      })
    } finally {
      await served.close()
    }
  })

  it.each(named(true))('%s', async (name) => {
    const { digest } = await keep(name)
    const { path } = await modelFiles({ artifacts, dataDir: dir }, digest)
    await expect(openModel(path)).rejects.toMatchObject({ code: caseOf(name).refused })
  })

  it('say in their registration what was rewritten, with the digest of the file as it was', async () => {
    const kept = await keep('sklearn-logistic-text-labels')
    const { original, notes } = await registrationOf(artifacts, kept.digest)
    expect(original).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(original).not.toBe(kept.digest)
    expect(notes).toEqual([expect.stringContaining('setosa, versicolor, virginica')])
  })

  it.each(['sklearn-logistic-zipmap', 'weights-in-many-files'])(
    '%s is served without being registered',
    async (name) => {
      const served = await serveFile({ path: join(zoo!.dir, name, 'model.onnx'), port: 0, name })
      try {
        const [request] = caseOf(name).requests
        const answered = await infer(served.port, name, request!.inputs)
        expect(differences(answered.outputs, request!.outputs)).toEqual([])
      } finally {
        await served.close()
      }
    },
  )
})

function buildZoo(command: string): Zoo {
  const dir = mkdtempSync(join(tmpdir(), 'mr-zoo-models-'))
  runPythonFile(command, [join(import.meta.dirname, 'build_zoo.py'), dir])
  return { dir, ...(JSON.parse(readFileSync(join(dir, 'zoo.json'), 'utf8')) as Omit<Zoo, 'dir'>) }
}

function caseOf(name: string): Case {
  return JSON.parse(readFileSync(join(zoo!.dir, name, 'case.json'), 'utf8')) as Case
}

interface Answered {
  status: number
  error?: string
  outputs: Record<string, Tensor>
}

/** 64-bit integers go and come as digits: JavaScript's numbers would round them. */
async function infer(port: number, name: string, inputs: Case['requests'][number]['inputs']): Promise<Answered> {
  const tensors = inputs.map((input) => {
    const { data, ...rest } = input
    const values = input.datatype === 'INT64' ? `[${data.join(',')}]` : JSON.stringify(data)
    return `{${JSON.stringify(rest).slice(1, -1)},"data":${values}}`
  })
  const response = await fetch(`http://127.0.0.1:${port}/v2/models/${name}/infer`, {
    method: 'POST',
    body: `{"inputs":[${tensors.join(',')}]}`,
  })
  const text = await response.text()
  const body = JSON.parse(text, (_key, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && Number.isInteger(value) ? context!.source : value,
  ) as { error?: string; outputs?: (Tensor & { name: string })[] }
  const outputs = Object.fromEntries((body.outputs ?? []).map(({ name, ...tensor }) => [name, tensor]))
  return { status: response.status, ...(body.error === undefined ? {} : { error: body.error }), outputs }
}

const RELATIVE = 1e-6
/** Probabilities near zero differ in their last bits. */
const ABSOLUTE = 1e-7

/** What differs from Python's answer, for people; empty where nothing does. */
function differences(outputs: Record<string, Tensor>, expected: Record<string, Tensor>): string[] {
  const names = new Set([...Object.keys(outputs), ...Object.keys(expected)])
  return [...names].flatMap((name) => {
    const [got, wanted] = [outputs[name], expected[name]]
    if (got === undefined || wanted === undefined) return [`${name} is ${got ? 'new' : 'missing'}`]
    const [is, was] = [got, wanted].map(({ datatype, shape }) => `${datatype} [${shape.join(', ')}]`)
    if (is !== was) return [`${name} is ${is}, in Python ${was}`]
    return wanted.data.flatMap((value, i) =>
      isSame(got.data[i]!, value, wanted.datatype) ? [] : [`${name}[${i}] is ${got.data[i]}, in Python ${value}`],
    )
  })
}

type Value = Tensor['data'][number]

function isSame(got: Value, wanted: Value, datatype: string): boolean {
  if (datatype === 'INT64') return String(got) === wanted
  const isNear = typeof got === 'number' && typeof wanted === 'number' && datatype.startsWith('FP')
  return isNear ? Math.abs(got - wanted) <= ABSOLUTE + RELATIVE * Math.abs(wanted) : got === wanted
}
