import { spawn, spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { prepareDatabase } from '../../src/testing/prepared-database.ts'
import { ROOT } from './markdown.ts'

/** The port that the docs name. */
const SHOWN = '127.0.0.1:8700'
/** The port of `millrace serve` there. */
const SHOWN_ALONE = 8080
const UP_LIMIT_MS = 150_000
const COMMAND_LIMIT_MS = 60_000

export interface Ended {
  code: number | null
  /** stdout and stderr, as a person sees them. */
  output: string
}

/** A project that is up and has its first version released: what the guides' examples talk to. */
export interface RunningProject {
  /** Runs a script in the project's folder, `millrace` being this one, and the ports of the docs being its ports. */
  sh(script: string): Promise<Ended>
  python(script: string): Promise<Ended>
  close(): Promise<void>
}

/**
 * @param make - a script that makes the folder `project`
 * @param pythonCommand - where steps find `python`, if not in the PATH as it is
 */
export async function startProject(make: string, pythonCommand: string | null = null): Promise<RunningProject> {
  const dir = await mkdtemp(join(tmpdir(), 'mr-docs-'))
  const project = join(dir, 'project')
  await mkdir(join(dir, 'bin'))
  await writeFile(join(dir, '.curlrc'), '--silent\n')
  const shim = join(dir, 'bin', 'millrace')
  await writeFile(shim, `#!/bin/sh\nexec '${process.execPath}' '${join(ROOT, 'src/surface/cli/main.ts')}' "$@"\n`)
  await chmod(shim, 0o755)
  const env = {
    ...process.env,
    XDG_RUNTIME_DIR: dir,
    PATH: [join(dir, 'bin'), pythonCommand && dirname(pythonCommand), process.env['PATH']]
      .filter(Boolean)
      .join(delimiter),
    MILLRACE_BY: 'you',
    NO_COLOR: '1',
    CI: '1',
    CURL_HOME: dir, // without it curl draws its progress
  }
  delete (env as NodeJS.ProcessEnv)['MILLRACE_DATABASE_URL']
  let ports: [string, string][] = []
  const run = (command: string, args: string[], cwd: string, input: string) =>
    runBounded(command, [...args, ports.reduce((text, [shown, real]) => text.replaceAll(shown, real), input)], cwd, env)
  const sh = (script: string, cwd = project) => run('/bin/sh', ['-euc'], cwd, script)
  const close = async () => {
    await sh('millrace down --timeout 5s')
    await rm(dir, { recursive: true, force: true })
  }
  try {
    await ended(sh(`${make}\n`, dir))
    await prepareDatabase(join(project, '.millrace'))
    await ended(sh('millrace up --detach --port 0'))
    const alone = await freePort()
    ports = [
      [SHOWN, await untilServing(sh)],
      [`127.0.0.1:${SHOWN_ALONE}`, `127.0.0.1:${alone}`],
      [`--port ${SHOWN_ALONE}`, `--port ${alone}`],
    ]
  } catch (error) {
    await close()
    throw error
  }
  return { sh, python: (script) => run('python3', ['-c'], project, script), close }
}

async function ended(command: Promise<Ended>): Promise<void> {
  const { code, output } = await command
  if (code !== 0) throw new Error(`The project of the docs did not start: ${output}`)
}

/** @returns host and port of the gateway */
async function untilServing(sh: (script: string) => Promise<Ended>): Promise<string> {
  const deadlineMs = performance.now() + UP_LIMIT_MS
  for (;;) {
    const { output } = await sh('millrace status --json')
    const url = /"url": "http:\/\/([^/]+)\/v2/.exec(output)?.[1]
    if (url !== undefined && /"state": "serving"/.test(output)) return url
    if (performance.now() > deadlineMs) throw new Error(`Nothing is served after ${UP_LIMIT_MS} ms: ${output}`)
    await sleep(500)
  }
}

function freePort(): Promise<number> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

function runBounded(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv): Promise<Ended> {
  const child = spawn(command, args, { cwd: cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: limitOf(args) })
  let output = ''
  child.stdout.on('data', (piece: Buffer) => (output += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (output += piece.toString()))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, output }))
  })
}

const limitOf = (args: string[]) => (args.some((arg) => arg.includes('millrace up')) ? UP_LIMIT_MS : COMMAND_LIMIT_MS)

/** Python snippets need nothing but Python itself. */
export function hasPython(): boolean {
  const found = spawnSync('python3', ['--version']).status === 0
  if (!found) console.warn('Skipped: the Python snippets of the docs. To run them: install python3.')
  return found
}

/**
 * What the guide to one's own model asks people to install. @returns the path of a Python that has it, or null after a
 * line that says how to run the test
 */
export function pythonForModels(): string | null {
  const command = process.env['MILLRACE_TEST_PYTHON']
  const probe = command && spawnSync(command, ['-c', 'import pandas, sklearn, skl2onnx'], { timeout: 60_000 })
  if (command && probe && probe.status === 0) return command
  console.warn(
    'Skipped: the project of docs/guides/your-own-model.md. To run it: python3 -m venv VENV && ' +
      'VENV/bin/pip install pandas scikit-learn skl2onnx && MILLRACE_TEST_PYTHON=$PWD/VENV/bin/python npm test',
  )
  return null
}
