import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { churnFiles } from './churn-data.ts'
import { initProject } from './init.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-init-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

const fresh = () => mkdtemp(join(root, 'p-'))
const listed = async (dir: string) =>
  (await readdir(dir, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).length

describe('millrace init', () => {
  it('writes the starter into a folder that is not there yet, and says what it wrote', async () => {
    const dir = join(await fresh(), 'a', 'b')
    const files = await initProject({ dir, template: 'starter', force: false })
    expect(files).toEqual([
      '.gitignore',
      'README.md',
      'data/customers/2026-01.csv',
      'data/customers/2026-02.csv',
      'data/holdout.csv',
      'later/2026-03.csv',
      'millrace.config.ts',
      'onnx.mjs',
      'train.mjs',
    ])
    expect(await listed(dir)).toBe(files.length)
    expect(await readFile(join(dir, '.gitignore'), 'utf8')).toContain('.millrace/')
  })

  it('writes the scikit-learn template with a lock file of exact versions', async () => {
    const dir = await fresh()
    expect(await initProject({ dir, template: 'sklearn', force: false })).toContain('train.py')
    const lock = (await readFile(join(dir, 'requirements.lock'), 'utf8'))
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(lock.length).toBeGreaterThan(10)
    for (const line of lock) expect(line).toMatch(/^[\w.-]+==[\w.]+$/)
  })

  it('writes nothing where a file would be overwritten, unless forced', async () => {
    const dir = await fresh()
    await writeFile(join(dir, 'train.mjs'), 'mine')
    await expect(initProject({ dir, template: 'starter', force: false })).rejects.toMatchObject({
      code: 'MR_INIT_FILES_EXIST',
      files: ['train.mjs'],
    })
    expect(await readdir(dir)).toEqual(['train.mjs'])
    expect(await readFile(join(dir, 'train.mjs'), 'utf8')).toBe('mine')
    await initProject({ dir, template: 'starter', force: true })
    expect(await readFile(join(dir, 'train.mjs'), 'utf8')).toContain('logistic regression')
  })

  it('keeps files that have nothing to do with it', async () => {
    const dir = await fresh()
    await writeFile(join(dir, 'notes.txt'), 'mine')
    await initProject({ dir, template: 'starter', force: false })
    expect(await readFile(join(dir, 'notes.txt'), 'utf8')).toBe('mine')
  })

  it('names the templates there are, and a folder it may not write to', async () => {
    const dir = await fresh()
    await expect(initProject({ dir, template: 'pytorch', force: false })).rejects.toMatchObject({
      code: 'MR_INIT_TEMPLATE_UNKNOWN',
      fix: 'Use --template starter or --template sklearn.',
    })
    await writeFile(join(dir, 'file'), '')
    await expect(initProject({ dir: join(dir, 'file'), template: 'starter', force: false })).rejects.toMatchObject({
      code: 'MR_INIT_DIR',
    })
  })
})

describe('the customers', () => {
  it('are the same for everybody, about a fifth of them leave, and no month repeats another', () => {
    const files = churnFiles()
    expect(files).toEqual(churnFiles())
    const rows = files.flatMap(({ text }) => text.trim().split('\n').slice(1))
    expect(rows).toHaveLength(2_900)
    const rate = rows.filter((row) => row.endsWith(',1')).length / rows.length
    expect(rate).toBeGreaterThan(0.15)
    expect(rate).toBeLessThan(0.25)
    expect(new Set(files.map(({ text }) => text)).size).toBe(4)
  })
})
