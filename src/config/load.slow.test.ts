import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ownMsOf } from '../testing/stopwatch.ts'
import { ConfigError } from './errors.ts'
import { loadProject } from './load.ts'
import { packageRoot } from './package-files.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-load-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

let count = 0
async function folder(files: Record<string, string>): Promise<string> {
  const dir = join(root, String(++count))
  await mkdir(dir, { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text)
  return dir
}

async function refusal(
  source: string,
  more: Record<string, string> = {},
  name = 'millrace.config.ts',
): Promise<string> {
  const dir = await folder({ [name]: source, ...more })
  const failed = await loadProject({ cwd: dir, timeoutMs: 60_000 }).catch((error: unknown) => error)
  expect(failed).toBeInstanceOf(ConfigError)
  return (failed as ConfigError).message
}

const good = `{ name: 'p', models: { m: { train: 'x' } } }`

describe('millrace.config.ts', () => {
  it('is run with types, imports of its own, and millrace where nothing is installed', async () => {
    const cwd = await folder({
      'millrace.config.ts': `
        import { defineProject, type ModelInput } from 'millrace'
        import { late } from './models'
        const models: Record<string, ModelInput> = { late }
        export default defineProject({ name: await Promise.resolve('flights'), models })`,
      'models.ts': `import { defineModel } from 'millrace'\nexport const late = defineModel({ train: process.env.HOME ? 'python train.py' : '' })`,
    })
    const { project, digest } = await loadProject({ cwd })
    expect(project).toMatchObject({
      name: 'flights',
      models: [{ name: 'late', pipeline: { steps: [{ command: 'python train.py' }] } }],
    })
    const yaml = await folder({ 'millrace.yaml': 'name: flights\nmodels: { late: { train: python train.py } }' })
    const same = await loadProject({ cwd: yaml })
    expect({ ...same.project, root: '' }).toEqual({ ...project, root: '' })
    expect(same.digest).not.toBe(digest) // of another folder
  })

  it('is what the reference shows, in both forms', async () => {
    const text = await readFile(join(packageRoot(), 'docs/reference/config.md'), 'utf8')
    const [ts, yaml] = ['ts', 'yaml'].map(
      (language) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(text)![1]!,
    )
    const one = await loadProject({ cwd: await folder({ 'millrace.config.ts': ts! }) })
    const other = await loadProject({ cwd: await folder({ 'millrace.yaml': yaml! }) })
    expect({ ...one.project, root: '' }).toEqual({ ...other.project, root: '' })
  })

  it('is a module also where npm init has made the folder CommonJS', async () => {
    const cwd = await folder({
      'package.json': '{ "name": "x", "type": "commonjs" }',
      'millrace.config.ts': `import { defineProject } from 'millrace'\nimport { train } from './commands.ts'\nexport default defineProject({ name: 'p', models: { m: { train } } })`,
      'commands.ts': `export const train = 'python train.py'`,
    })
    expect((await loadProject({ cwd })).project.models[0]?.pipeline.steps[0]?.command).toBe('python train.py')
  })

  it('may be JavaScript, as a module or in the older form', async () => {
    const esm = await folder({
      'millrace.config.mjs': `import { defineProject } from 'millrace'\nexport default defineProject(${good})`,
    })
    const cjs = await folder({
      'millrace.config.js': `const { defineProject } = require('millrace')\nmodule.exports = defineProject(${good})`,
    })
    for (const cwd of [esm, cjs]) expect((await loadProject({ cwd })).project.name).toBe('p')
  })

  it('may print what it likes and leave timers behind', async () => {
    const cwd = await folder({
      'millrace.config.ts': `console.log('{"kind":"value"}'); console.error('x'.repeat(1_000_000)); setInterval(() => {}, 1000)\nexport default ${good}`,
    })
    expect((await loadProject({ cwd })).project.name).toBe('p')
  })

  it('is told line, column, field, value and fix', async () => {
    const source = `import { defineModel, defineProject } from 'millrace'
const model = defineModel({
  train: 'python train.py',
  gate: { margin: 'abc' as never },
})
export default defineProject({
  name: 'flights',
  models: { 'late-flight': model, },
  gatewy: {},
})`
    expect(await refusal(source)).toBe(
      'millrace.config.ts:4:11  models.late-flight.gate.margin: must be a number of at least 0 (is "abc"). Fix: write for example margin: 0.005.\n' +
        'millrace.config.ts:9:3  gatewy: is not a field (is {}). Fix: did you mean "gateway"?',
    )
  })

  it.each([
    [
      'a syntax error',
      'const a: number = 1\nexport default { a: 1 b: 2 }',
      /^millrace\.config\.ts:2:23 {2}can't be read: .* Fix: correct the code at this place\.$/,
    ],
    [
      'TypeScript that is more than types',
      'enum A { B }\nexport default {}',
      /^millrace\.config\.ts:1:1 {2}TypeScript enum is not supported/,
    ],
    [
      'code that throws',
      `const x: string = 'a'\n\nfunction f(): never {\n  throw new TypeError('no such thing')\n}\nexport default f()`,
      /^millrace\.config\.ts:4:9 {2}threw TypeError: no such thing\. Fix/,
    ],
    ['code that throws what is no error', `throw 'a text'`, /threw Error: a text/],
    [
      'a promise that nobody handles',
      `Promise.reject(new Error('late'))\nawait new Promise((r) => setTimeout(r, 50))\nexport default ${good}`,
      /^millrace\.config\.ts:1:16 {2}threw Error: late/,
    ],
    [
      'a function',
      `export default () => (${good})`,
      /^millrace\.config\.ts:1:16 {2}is a function, which can't be kept in a revision/,
    ],
    [
      'a date inside',
      `export default { name: 'p',\n  models: { m: { train: 'x', params: { since: new Date(0) } } } }`,
      /^millrace\.config\.ts:2:40 {2}models\.m\.params\.since: is a Date/,
    ],
    [
      'no default export',
      `export const config = ${good}`,
      /has no default export \(it exports config\)\. Fix: end it with export default/,
    ],
    [
      'an early exit',
      `console.log('bye')\nprocess.exit(3)\nexport default {}`,
      /ended its process with exit code 3 before it gave a configuration; the last it printed: "bye"/,
    ],
    [
      'a promise that never settles',
      'await new Promise(() => {})\nexport default {}',
      /ended its process with exit code 13|did not finish/,
    ],
    ['a suicide', `process.kill(process.pid, 'SIGKILL')\nexport default {}`, /ended its process by SIGKILL/],
    [
      'a package that is not there',
      `import x from 'no-such-package-anywhere'\nexport default x`,
      /^millrace\.config\.ts:1:15 {2}imports 'no-such-package-anywhere', which is not there\. Fix: install it/,
    ],
    [
      'a file that is not there',
      `\nimport x from './nowhere.ts'\nexport default x`,
      /^millrace\.config\.ts:2:15 {2}imports '.*nowhere\.ts', which is not there\. Fix: correct the path/,
    ],
    [
      'a field written twice',
      `export default {\n  name: 'p',\n  name: 'q', models: {} }`,
      /^millrace\.config\.ts:3:3 {2}writes "name" twice/,
    ],
    [
      'a configuration with data in it',
      `export default { name: 'x'.repeat(6_000_000) }`,
      /threw RangeError: the configuration has 60\d+ bytes/,
    ],
  ])('refuses %s', async (_, source, expected) => {
    expect(await refusal(source)).toMatch(expected)
  })

  it('names the imported file where the mistake is there', async () => {
    expect(
      await refusal(`import './helper.ts'\nexport default {}`, { 'helper.ts': `\nthrow new Error('in here')` }),
    ).toMatch(/helper\.ts:2:7 {2}threw Error: in here/)
    expect(await refusal(`import './helper.ts'\nexport default {}`, { 'helper.ts': `\nconst = 1` })).toMatch(
      /helper\.ts:2:7 {2}can't be read/,
    )
  })

  it('refuses a syntax error in JavaScript', async () => {
    expect(await refusal('import "node:fs"\nexport default { a: 1 b: 2 }', {}, 'millrace.config.mjs')).toMatch(
      /^millrace\.config\.mjs:2:23 {2}can't be read: Unexpected identifier/,
    )
  })

  it('stops a file that hangs, with all that it started', async () => {
    const cwd = await folder({
      'millrace.config.ts': `
        import { spawn } from 'node:child_process'
        import { writeFileSync } from 'node:fs'
        writeFileSync('pid', String(spawn('sleep', ['60']).pid))
        for (;;) {}
        export default {}`,
    })
    // Where the machine is busy, a process may not even have begun to hang: then it gets more time.
    for (const seconds of [1, 4, 16, 64]) {
      const tookMs = await ownMsOf(() =>
        expect(loadProject({ cwd, timeoutMs: seconds * 1_000 })).rejects.toThrow(
          `did not finish within ${seconds} s and was stopped. Fix: take out what waits or loops`,
        ),
      )
      // What it started holds its output, and would go on for a minute.
      expect(tookMs).toBeLessThan(seconds * 1_000 + 2_000)
      if (existsSync(join(cwd, 'pid'))) break
    }
    expect(await goneWithin(15_000, Number(await readFile(join(cwd, 'pid'), 'utf8')))).toBe(true)
  })

  it('survives a file that takes all memory', async () => {
    expect(
      await refusal(
        'const all: unknown[] = []\nfor (;;) all.push(new Array(100_000).fill(all.length))\nexport default {}',
      ),
    ).toMatch(/ran out of memory\. Fix: build less in it/)
  })

  it('leaves nothing behind when Millrace itself is killed meanwhile', async () => {
    const cwd = await folder({
      'millrace.config.ts': `import { writeFileSync } from 'node:fs'\nwriteFileSync('pid', String(process.pid))\nfor (;;) {}`,
      'ask.ts': `import { loadProject } from ${JSON.stringify(new URL('./load.ts', import.meta.url).href)}\nawait loadProject({ timeoutMs: 60_000 })`,
    })
    const asking = spawn(process.execPath, ['ask.ts'], { cwd, stdio: 'ignore' })
    const pid = await eventually(async () => Number(await readFile(join(cwd, 'pid'), 'utf8')) || null)
    asking.kill('SIGKILL')
    expect(await goneWithin(15_000, pid)).toBe(true)
  })

  it('prints no warnings of Node', async () => {
    const cwd = await folder({
      'millrace.config.ts': `const x: string = 'p'\nexport default { name: x, models: {} }`,
      'ask.ts': `import { loadProject } from ${JSON.stringify(new URL('./load.ts', import.meta.url).href)}\nawait loadProject().catch((e) => console.log(e.code))`,
    })
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['ask.ts'], {
      cwd,
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    expect(stdout).toBe('MR_CONFIG_INVALID\n')
    expect(stderr).not.toMatch(/stripTypeScriptTypes/)
  })
})

async function goneWithin(limitMs: number, pid: number): Promise<boolean> {
  for (const end = performance.now() + limitMs; performance.now() < end; await sleep(50)) {
    try {
      process.kill(pid, 0)
    } catch {
      return true
    }
  }
  return false
}

async function eventually<T>(look: () => Promise<T | null>): Promise<T> {
  let last: unknown = null
  for (const end = performance.now() + 60_000; performance.now() < end; await sleep(50)) {
    const found = await look().catch((error: unknown) => {
      last = error
      return null
    })
    if (found !== null) return found
  }
  throw new Error('did not happen within 60 s', { cause: last })
}
