import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ensureEnvironment, type EnvironmentOptions } from './environments.ts'

let root: string
let options: EnvironmentOptions
let logged: string[]
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'millrace-env-'))
  logged = []
  options = { root, cacheDir: join(root, 'cache'), onLog: (text) => logged.push(text) }
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const built = () => logged.filter((text) => text.startsWith('Building')).length

it('leaves the environment as it is for `inherit`, and says that it can not be made again', async () => {
  expect(await ensureEnvironment({ kind: 'inherit' }, options)).toEqual({
    env: {},
    digest: null,
    reproducible: false,
    nodeModules: null,
  })
})

it('says what is missing: lock or interpreter', async () => {
  const noLock = { kind: 'node', node: process.execPath, lock: 'package-lock.json' } as const
  await expect(ensureEnvironment(noLock, options)).rejects.toMatchObject({
    code: 'MR_ENVIRONMENT',
    message: expect.stringContaining('package-lock.json'),
  })
  writeFileSync(join(root, 'requirements.lock'), '')
  const noPython = { kind: 'python', python: 'python9.99', lock: 'requirements.lock' } as const
  await expect(ensureEnvironment(noPython, options)).rejects.toMatchObject({
    message: expect.stringContaining("'python9.99' is not in PATH"),
  })
  const wrongVersion = { kind: 'node', node: '3', lock: 'requirements.lock' } as const
  await expect(ensureEnvironment(wrongVersion, options)).rejects.toMatchObject({
    message: expect.stringMatching(/there is no Node 3; found .*v\d+\.\d+\.\d+/),
    fix: expect.stringContaining('Install Node 3 so that it is in PATH'),
  })
  const notOne = { kind: 'python', python: '/bin/false', lock: 'requirements.lock' } as const
  await expect(ensureEnvironment(notOne, options)).rejects.toMatchObject({
    message: expect.stringContaining('/bin/false --version'),
  })
})

describe('a Node environment', () => {
  const wish = { kind: 'node', node: 'node', lock: 'package-lock.json' } as const
  beforeEach(() => {
    const dependency = join(root, 'dependency')
    mkdirSync(dependency)
    writeFileSync(
      join(dependency, 'package.json'),
      JSON.stringify({ name: 'answer', version: '1.0.0', main: 'index.cjs' }),
    )
    writeFileSync(join(dependency, 'index.cjs'), 'module.exports = 42')
    execFileSync('npm', ['pack', dependency, '--silent'], { cwd: root })
    writeFileSync(
      join(root, 'package.json'),
      JSON.stringify({
        name: 'x',
        version: '1.0.0',
        dependencies: { answer: `file:${join(root, 'answer-1.0.0.tgz')}` },
      }),
    )
    execFileSync('npm', ['install', '--package-lock-only', '--silent', '--no-audit'], { cwd: root })
  })

  it('is built once for its lock, also by two at the same time, and can be used', async () => {
    const [first, second] = await Promise.all([ensureEnvironment(wish, options), ensureEnvironment(wish, options)])
    expect(second).toEqual(first)
    expect(first).toMatchObject({ reproducible: true, digest: expect.stringMatching(/^sha256:/) })
    await ensureEnvironment(wish, options)
    expect(built()).toBe(1)
    const answer = execFileSync('node', ['-p', "require('answer')"], {
      env: { ...process.env, ...first.env },
      cwd: '/',
      encoding: 'utf8',
    })
    expect(answer).toBe('42\n')
    expect(existsSync(join(first.nodeModules ?? '', 'answer/index.cjs'))).toBe(true)
  })

  it('is another for another lock', async () => {
    const first = await ensureEnvironment(wish, options)
    writeFileSync(join(root, 'package-lock.json'), `${readFileSync(join(root, 'package-lock.json'), 'utf8')}\n`)
    const second = await ensureEnvironment(wish, options)
    expect(second.digest).not.toBe(first.digest)
    expect(built()).toBe(2)
  })

  it('is built anew where it was left unfinished, and tells npm’s words when it can not be built', async () => {
    const first = await ensureEnvironment(wish, options)
    const [name = ''] = readdirSync(options.cacheDir)
    rmSync(join(options.cacheDir, name, 'complete'))
    rmSync(join(first.nodeModules ?? '', 'answer/index.cjs'))
    await ensureEnvironment(wish, options)
    expect(existsSync(join(first.nodeModules ?? '', 'answer/index.cjs'))).toBe(true)

    writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'x', dependencies: { other: '1.0.0' } }))
    const failing = ensureEnvironment(wish, options)
    await expect(failing).rejects.toMatchObject({
      code: 'MR_ENVIRONMENT',
      message: expect.stringMatching(/npm ci.*ended with 1.*npm error/s),
    })
    await expect(ensureEnvironment(wish, { ...options, timeoutMs: 1 })).rejects.toMatchObject({
      code: 'MR_ENVIRONMENT',
      retryable: true,
    })
  })
})

const hasPython = spawnSync('python3', ['-c', 'import venv, ensurepip']).status === 0
describe.skipIf(!hasPython)('a Python environment (needs python3 with venv)', () => {
  it('is a virtual environment built from its lock, used first in PATH', async () => {
    writeFileSync(join(root, 'requirements.lock'), '# nothing\n')
    const wish = { kind: 'python', python: 'python3', lock: 'requirements.lock' } as const
    const { env, reproducible, digest } = await ensureEnvironment(wish, options)
    const prefix = execFileSync('python', ['-c', 'import sys; print(sys.prefix)'], {
      env: { ...process.env, ...env },
      encoding: 'utf8',
    })
    expect(prefix.trim()).toBe(env['VIRTUAL_ENV'])
    expect(prefix).toContain(options.cacheDir)
    expect({ reproducible, digest }).toEqual({ reproducible: true, digest: expect.stringMatching(/^sha256:/) })
    await ensureEnvironment(wish, options)
    expect(built()).toBe(1)
  })

  it('tells pip’s words when the lock can not be installed', async () => {
    writeFileSync(join(root, 'requirements.lock'), './not-there.whl\n')
    const wish = { kind: 'python', python: 'python3', lock: 'requirements.lock' } as const
    await expect(ensureEnvironment(wish, options)).rejects.toMatchObject({
      code: 'MR_ENVIRONMENT',
      message: expect.stringContaining('not-there.whl'),
    })
  })
})
