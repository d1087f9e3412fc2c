import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { seededRandom } from '../../src/kernel/stats/random.ts'

/**
 * The project that is run and killed: one model, three steps that take half a second each, durable log, two replicas,
 * each release by a short canary, versions retired within seconds.
 */
export interface TestProject {
  folder: string
  configPath: string
  dataDir: string
  /** What the steps have to say, outside the project: see trainer/witness.mjs. */
  witnessPath: string
  remove(): void
}

export const MODEL = 'coin'
const HERE = import.meta.dirname
const HOLDOUT_ROWS = 400

export function makeProject(): TestProject {
  const home = mkdtempSync(join(tmpdir(), 'millrace-crash-'))
  const folder = join(home, 'project')
  const witnessPath = join(home, 'witness.jsonl')
  cpSync(join(HERE, 'trainer'), folder, { recursive: true })
  copyFileSync(resolve(HERE, '../../templates/starter/onnx.mjs'), join(folder, 'onnx.mjs'))
  mkdirSync(join(folder, 'data'))
  writeFileSync(join(folder, 'holdout.csv'), holdout())
  const configPath = join(folder, 'millrace.yaml')
  writeFileSync(configPath, configuration(witnessPath))
  return {
    folder,
    configPath,
    dataDir: join(home, 'data'),
    witnessPath,
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}

/** A file that the trigger `newData` sees at once and whole. */
export function landData({ folder }: TestProject, name: string): void {
  const written = join(folder, `${name}.part`)
  writeFileSync(written, `a,b,y\n${name.length},1,0\n`)
  renameSync(written, join(folder, 'data', name))
}

export interface WitnessLine {
  what: 'began' | 'ended'
  run: string
  step: string
  attempt: number
}

export function readWitness({ witnessPath }: TestProject): WitnessLine[] {
  if (!existsSync(witnessPath)) return []
  const lines = readFileSync(witnessPath, 'utf8').trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line) as WitnessLine)
}

/** Every failure that the suite makes is one that a retry mends, so no run may fail. */
function configuration(witnessPath: string): string {
  const step = (command: string, more = '') =>
    `{ run: "node ${command}", args: false, timeout: 60s, retries: 20, backoff: 100ms, env: { CRASH_WITNESS: "${witnessPath}" }${more} }`
  return `name: crash
snapshotIgnore: ["data/**", "*.part"]
models:
  ${MODEL}:
    task: binary
    label: y
    holdout: holdout.csv
    params: { quality: good }
    steps:
      first: ${step('prepare.mjs')}
      second: ${step('prepare.mjs')}
      train: ${step('train.mjs', ', inputs: { first: steps.first/weight.json, second: steps.second/weight.json }')}
    on: { newData: "data/*.csv", settle: 300ms }
    gate: { resamples: 500, margin: 0.01 }
    release:
      when: always
      preflight: { rows: 20 }
      strategy: canary
      canary: { weights: [40], soak: 300ms, minRequests: 10, maxTime: 1m }
    retirement: { keepLast: 2, deleteAfter: 5s, idle: 1m, pin: 1m }
    serving: { replicas: 2, drain: 5s }
    log: { mode: durable }
`
}

/** Rows of which the trainer's weights tell the truth. */
function holdout(): string {
  const random = seededRandom(1)
  const rows = Array.from({ length: HOLDOUT_ROWS }, () => {
    const [a, b] = [random.normal(), random.normal()]
    const y = random.uniform() < 1 / (1 + Math.exp(b - 2 * a)) ? 1 : 0
    return `${a.toFixed(4)},${b.toFixed(4)},${y}`
  })
  return `a,b,y\n${rows.join('\n')}\n`
}
