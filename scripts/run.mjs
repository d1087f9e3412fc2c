// Runs one of the project's tasks from a fresh clone with nothing but Node >= 20 and npm: installs what the lock file
// names where that is not done yet, then goes on with the Node that the project pins (node_modules/node).
// Plain JavaScript without dependencies, because it runs before there are any, on whatever Node there is.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [task, ...args] = process.argv.slice(2)

const tasks = {
  demo: ['examples/flights/demo.ts'],
  test: [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...['fast', 'database', 'slow*'].flatMap((name) => ['--project', name]),
  ],
  'test:crash': ['tests/crash/run.ts'],
  'test:release': ['tests/release/run.ts'],
  'test:fuzz': ['tests/fuzz/run.ts'],
  bench: ['bench/run.ts'],
  'bench:serving': ['bench/serving.ts'],
  build: ['scripts/build.ts'],
  /** Nothing but the dependencies. */
  install: null,
}

if (!(task in tasks)) {
  console.error(`There is no task '${task}'; there are: ${Object.keys(tasks).join(', ')}.`)
  process.exit(2)
}
install()
if (tasks[task] === null) process.exit(0)
const node = join(root, 'node_modules', 'node', 'bin', 'node')
const pinned = existsSync(node) ? node : process.execPath
const env = {
  ...process.env,
  PATH: [dirname(pinned), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter),
  ORT_DISABLE_TELEMETRY: '1',
  NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node'),
}
const { status, signal } = spawnSync(pinned, [...tasks[task], ...args], { cwd: root, stdio: 'inherit', env })
process.exit(status ?? (signal === 'SIGINT' ? 130 : 1))

/** `npm ci` once for each lock file; what is there already is left alone. */
function install() {
  const stamp = join(root, 'node_modules', '.millrace-installed')
  const digest = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return
  console.error('Installing the dependencies that package-lock.json names (npm ci) …')
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (npm.status !== 0) {
    console.error('npm ci failed: see above. The npm registry must be reachable.')
    process.exit(npm.status ?? 1)
  }
  writeFileSync(stamp, digest)
}
