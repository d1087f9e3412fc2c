import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Figure } from '../harness/figure.ts'
import { packageRoot } from '../harness/package.ts'

const LIMIT_MS = 30 * 60_000
/** What a machine has before anything is installed: a shell and the POSIX tools that npm and scripts call. */
const BASE = [
  'sh',
  'env',
  'uname',
  'ls',
  'cat',
  'cp',
  'mv',
  'rm',
  'mkdir',
  'sed',
  'dirname',
  'basename',
  'ps',
  'sleep',
  'kill',
  'true',
  'false',
  'test',
  'printf',
  'echo',
  'date',
  'head',
  'tail',
  'grep',
]

/** What the last commit gives to somebody who clones it, with an empty npm cache. */
export const freshClone: Figure = {
  id: 'U1',
  title: 'Fresh clone to the demo and to green tests, with only Node and npm',
  onlyByName: true,
  async measure({ samples, note }) {
    const seen = { install: [] as number[], demo: [] as number[], test: [] as number[] }
    for (let i = 0; i < (samples ?? 1); i++) {
      const home = mkdtempSync(join(tmpdir(), 'millrace-bench-clone-'))
      try {
        const clone = join(home, 'millrace')
        execFileSync('git', ['clone', '--quiet', '--no-hardlinks', packageRoot, clone])
        const env = bareEnvironment(home)
        const timed = (name: keyof typeof seen, ...args: string[]) => {
          seen[name].push(runNpm(args, clone, env))
          note(`npm ${args.join(' ')}: ${seen[name].at(-1)!.toFixed(1)} s`)
        }
        timed('install', 'ci', '--no-audit', '--no-fund', '--loglevel=error')
        timed('demo', 'run', 'demo')
        timed('test', 'test')
      } finally {
        rmSync(home, { recursive: true, force: true })
      }
    }
    return {
      setup: { node: 'the first one in PATH outside the project', 'npm cache': 'empty' },
      measures: [
        { name: 'npm ci', unit: 's', samples: seen.install, target: null },
        {
          name: 'npm run demo, to its summary (it runs npm ci once more, from the cache)',
          unit: 's',
          samples: seen.demo,
          target: { of: 'p50', atMost: 150 },
        },
        { name: 'npm test', unit: 's', samples: seen.test, target: null },
      ],
      limitedBy: 'The demo replays five months at a fixed pace as fast as the machine trains, evaluates and releases.',
    }
  },
}

/** @returns seconds. @throws when it ends with anything but 0 */
function runNpm(args: string[], cwd: string, env: NodeJS.ProcessEnv): number {
  const startMs = performance.now()
  const { status, error } = spawnSync('npm', args, { cwd, env, stdio: ['ignore', 2, 2], timeout: LIMIT_MS })
  if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with ${status ?? error?.message}`)
  return (performance.now() - startMs) / 1_000
}

/** A PATH with Node, npm and a bare system; the registry's address and nothing else is kept. */
function bareEnvironment(home: string): NodeJS.ProcessEnv {
  const bin = join(home, 'bin')
  mkdirSync(bin)
  for (const name of ['node', 'npm', 'npx', ...BASE]) {
    const found = findProgram(name)
    if (found !== null) symlinkSync(found, join(bin, name))
  }
  const kept = [
    'HOME',
    'LANG',
    'TMPDIR',
    'HTTP_PROXY',
    'HTTPS_PROXY',
    'NO_PROXY',
    'http_proxy',
    'https_proxy',
    'no_proxy',
    'NODE_EXTRA_CA_CERTS',
    'SSL_CERT_FILE',
  ]
  const isKept = (name: string) => kept.includes(name) || /^npm_config_.*registry$/i.test(name)
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => isKept(name)))
  return { ...env, PATH: bin, npm_config_cache: join(home, 'npm-cache') }
}

/** The system's own, not what this project has installed for itself. */
function findProgram(name: string): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'))
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  return found === undefined ? null : realpathSync(found)
}
