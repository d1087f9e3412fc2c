import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  install,
  predict,
  processesOf,
  request,
  runCommand,
  serving,
  type Ended,
  type Installation,
} from './harness.ts'

/* What `npm pack` gives, as somebody has it who installs it into an empty folder. */

const ROOT = resolve(import.meta.dirname, '..')
const INSTALL_MS = 300_000
/** Of time that belongs to the process. */
const HELP_MS = 1_500
/**
 * Says at the end of a process how long it took, in ms, without what it waited for a processor (on Linux).
 * @see proc(5), schedstat: time on the processor, time in the queue for one, both in ns
 */
const OWN_TIME = `data:text/javascript,${encodeURIComponent(`
  import { existsSync, readFileSync, writeSync } from 'node:fs'
  process.on('exit', () => {
    const path = '/proc/self/schedstat'
    const waitedNs = existsSync(path) ? Number(readFileSync(path, 'utf8').split(' ')[1]) : 0
    writeSync(2, String(performance.now() - waitedNs / 1e6))
  })`)}`

interface Packed {
  filename: string
  unpackedSize: number
  files: { path: string }[]
}

const home = mkdtempSync(join(tmpdir(), 'mr-pack-'))
const folder = join(home, 'app')
const project = join(folder, 'churn')
/** Its processes and its data: the same as everywhere, but its commands are the installed package's. */
const installed: Installation = install()
let packed: Packed

beforeAll(async () => {
  const source = copyOfSources()
  const { stdout } = await npm(source, 'pack', '--json', '--pack-destination', home)
  packed = (JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [Packed])[0]
  mkdirSync(folder)
  await npm(folder, 'init', '-y')
  await npm(
    folder,
    'install',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
    join(home, packed.filename),
  )
}, INSTALL_MS)

afterAll(async () => {
  await installed.remove()
  rmSync(home, { recursive: true, force: true })
})

/** Packing builds, which takes dist/ away from whoever uses it: so it is done to a copy. */
function copyOfSources(): string {
  const copy = join(home, 'source')
  const without = new Set(['node_modules', '.git', 'dist'].map((name) => join(ROOT, name)))
  cpSync(ROOT, copy, { recursive: true, filter: (path) => !without.has(path) })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** npm as people have it, with its settings; it must succeed. */
async function npm(cwd: string, ...args: string[]): Promise<Ended> {
  const ended = await runCommand(args, { cwd, timeoutMs: INSTALL_MS }, 'npm')
  if (ended.code !== 0)
    throw new Error(`npm ${args.join(' ')} ended with ${ended.code}:\n${ended.stdout}${ended.stderr}`)
  return ended
}

/** In the project's folder, as its owner would type it. */
function npx(...args: string[]): Promise<Ended> {
  return runCommand(
    ['millrace', ...args],
    { cwd: existsSync(project) ? project : folder, env: { ...installed.env, npm_config_loglevel: 'error' } },
    'npx',
  )
}

it('holds what runs and nothing else: no sources, no tests, no examples', () => {
  const paths = packed.files.map(({ path }) => path)
  expect(paths).toEqual(
    expect.arrayContaining([
      'LICENSE',
      'README.md',
      'package.json',
      'dist/cli.js',
      'dist/index.js',
      'dist/types/index.d.ts',
    ]),
  )
  const roots = new Set(paths.map((path) => path.split('/')[0]))
  expect(
    [...roots].filter((name) => !['dist', 'templates', 'LICENSE', 'README.md', 'package.json'].includes(name!)),
  ).toEqual([])
  expect(
    paths.filter((path) => /\.test\.|\.map$|(^|\/)(tests?|bench|examples|node_modules|data)\//.test(path)),
  ).toEqual([])
  expect(
    paths.filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts') && !path.startsWith('templates/')),
  ).toEqual([])
  expect(packed.unpackedSize).toBeLessThan(5_000_000)
})

it('is there with its dependencies, without any of those that it is built and tested with', () => {
  const names = readdirSync(join(folder, 'node_modules'))
  expect(names).toEqual(expect.arrayContaining(['millrace', 'onnxruntime-node', 'commander']))
  expect(names.filter((name) => ['typescript', 'vitest', 'rolldown', 'oxlint', 'node'].includes(name))).toEqual([])
})

it('says at once what it can do', async () => {
  const cli = join(folder, 'node_modules/millrace/dist/cli.js')
  const { code, stdout, stderr } = await runCommand(['--import', OWN_TIME, cli, '--help'], { cwd: folder })
  expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('millrace init') })
  expect(Number(stderr)).toBeGreaterThan(0)
  expect(Number(stderr)).toBeLessThan(HELP_MS)
  expect(await npx('--help')).toEqual({ code, stdout, stderr: '' })
  expect(await npx('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
})

it('trains a model in that folder, and answers a plain HTTP request with it', async () => {
  expect(await npx('init', 'churn')).toMatchObject({ code: 0, stderr: '' })
  // The configuration imports `millrace`, which is the installed one.
  expect(await npx('validate')).toMatchObject({ code: 0, stderr: '' })
  expect(await npx('up', '--detach', '--port', '0')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('Millrace is up'),
  })
  const url = (await serving(installed, 'churn', 'churn@1')).url!
  const values = { tenure_months: 3, monthly_fee: 49.9, support_calls: 4, days_since_login: 21, discount: 0 }
  const numbers = Object.entries(values).map(([name, value]) => ({
    name,
    datatype: 'FP32',
    shape: [1, 1],
    data: [value],
  }))
  const inputs = [...numbers, { name: 'plan', datatype: 'BYTES', shape: [1, 1], data: ['basic'] }]
  const { score, version } = await predict(url, inputs)
  expect(version).toBe('1')
  expect(score).toBeGreaterThan(0)
  expect(score).toBeLessThan(1)
  expect(await request(url.replace(/\/infer$/, ''))).toMatchObject({
    status: 200,
    body: { name: 'churn', versions: ['1'] },
  })
  expect(await npx('lake', 'query', 'select count(*) as n from predictions')).toMatchObject({ code: 0 })
  // What runs is the package, not these sources.
  const running = await processesOf(installed)
  expect(running.filter((line) => line.includes('gateway'))).not.toEqual([])
  expect(running.filter((line) => line.includes(join(ROOT, 'src')))).toEqual([])
  expect(await npx('down')).toMatchObject({ code: 0, stdout: expect.stringMatching(/\d+ processes stopped/) })
})
