import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigError } from './errors.ts'
import { loadProject } from './load.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-load-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

let count = 0
async function write(source: string): Promise<string> {
  const path = join(root, `${++count}.yaml`)
  await writeFile(path, source)
  return path
}

const refusal = async (source: string) => {
  const failed = await loadProject({ cwd: root, configPath: await write(source) }).catch((error: unknown) => error)
  expect(failed).toBeInstanceOf(ConfigError)
  return (failed as ConfigError).message.replaceAll(/^\d+\.yaml/gm, 'millrace.yaml')
}

describe('millrace.yaml', () => {
  it('reads the same fields as TypeScript, `on` among them', async () => {
    const { project, source, sourcePath, digest } = await loadProject({
      configPath: await write(`
name: flights
models:
  late-flight:
    task: binary
    train: python train.py
    params: &params { rounds: 60 }
    on: { newData: "data/*.parquet" }
    gate:
      metrics:
        auc: { min: 0.7 }
  other:
    train: x
    params: *params
`),
    })
    expect(project.models[0]).toMatchObject({
      name: 'late-flight',
      triggers: [{ path: 'data/*.parquet' }],
      gate: { thresholds: [{ metric: 'auc', min: 0.7 }] },
    })
    expect(project.models[1]!.pipeline.params).toEqual({ rounds: 60 })
    expect(source).toContain('name: flights')
    expect(sourcePath).toMatch(/\.yaml$/)
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/)
  })

  it('gives one digest for one meaning, whatever its form', async () => {
    const digestOf = async (source: string) => (await loadProject({ configPath: await write(source) })).digest
    const one = await digestOf('name: p\nmodels: { m: { train: x, seed: 0 } }')
    expect(await digestOf('# said otherwise\nmodels:\n  m:\n    train: x\nname: p')).toBe(one)
    expect(await digestOf('name: p\nmodels: { m: { train: y } }')).not.toBe(one)
  })

  it('says line, column, field, value, rule and fix', async () => {
    expect(
      await refusal('name: p\nmodels:\n  m:\n    train: x\n    gate:\n      margin: abc\n    holdot: h.csv\n'),
    ).toBe(
      'millrace.yaml:6:7  models.m.gate.margin: must be a number of at least 0 (is "abc"). Fix: write for example margin: 0.005.\n' +
        'millrace.yaml:7:5  models.m.holdot: is not a field (is "h.csv"). Fix: did you mean "holdout"?',
    )
  })

  it('points at the item of a list, and through an alias at what it stands for', async () => {
    expect(await refusal('name: p\nmodels:\n  m:\n    train: x\n    features:\n      - a\n      - 3\n')).toMatch(
      /^millrace.yaml:7:9 {2}models.m.features\[1\]: .* \(is 3\)/,
    )
    expect(
      await refusal('name: p\nmodels:\n  a: { train: x, gate: &g { alpha: 9 } }\n  b: { train: x, gate: *g }\n'),
    ).toMatch(/:3:29 .*\n.*:3:29 /)
  })

  it('points at the model where a field is missing', async () => {
    expect(await refusal('name: p\nmodels:\n  m:\n    label: x\n')).toMatch(
      /^millrace.yaml:3:3 {2}models.m: has no training command/,
    )
  })

  it('refuses broken YAML, keys written twice, second documents and bombs of aliases', async () => {
    expect(await refusal('name: p\nmodels:\n  m: { train: [x\n')).toMatch(
      /^millrace.yaml:4:1 {2}can't be read: .*Fix: correct the YAML/,
    )
    expect(await refusal('name: p\nname: q\nmodels: { m: { train: x } }')).toMatch(
      /^millrace.yaml:2:1 {2}can't be read: Map keys must be unique/,
    )
    expect(await refusal('name: p\n---\nname: q')).toMatch(/can't be read/)
    const bomb = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(', ')}]`)
    expect(await refusal('name: x\nmodels: &all { m: *all }\n')).toMatch(
      /millrace\.yaml:2:\d+ .*An alias stands for what it is part of/,
    )
    expect(await refusal(`a0: &a0 [x]\n${bomb.join('\n')}`)).toMatch(/can't be read: .*alias/i)
    expect(await refusal('')).toMatch(/must be an object/)
  })

  it('refuses a file that is too large to be a configuration', async () => {
    expect(await refusal(`# ${'x'.repeat(2_000_001)}`)).toMatch(/^millrace.yaml {2}has 20000\d\d bytes/)
  })
})

describe('finding the file', () => {
  it('says what to create where there is none', async () => {
    const empty = await mkdtemp(join(root, 'empty-'))
    await expect(loadProject({ cwd: empty })).rejects.toMatchObject({
      code: 'MR_CONFIG_NOT_FOUND',
      fix: expect.stringContaining('millrace init'),
    })
    await expect(loadProject({ cwd: empty, configPath: 'missing.yaml' })).rejects.toMatchObject({
      code: 'MR_CONFIG_NOT_FOUND',
    })
    await writeFile(join(empty, 'notes.txt'), '')
    await expect(loadProject({ cwd: empty, configPath: 'notes.txt' })).rejects.toMatchObject({
      code: 'MR_CONFIG_NOT_FOUND',
    })
  })

  it('refuses to choose between two', async () => {
    const both = await mkdtemp(join(root, 'both-'))
    await writeFile(join(both, 'millrace.yaml'), 'name: p\nmodels: { m: { train: x } }')
    await writeFile(join(both, 'millrace.config.ts'), 'export default {}')
    await expect(loadProject({ cwd: both })).rejects.toMatchObject({
      code: 'MR_CONFIG_AMBIGUOUS',
      message: expect.stringContaining('millrace.config.ts and millrace.yaml'),
    })
    await expect(loadProject({ cwd: both, configPath: 'millrace.yaml' })).resolves.toMatchObject({
      project: { name: 'p' },
    })
  })
})
