import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { readProcessRecords } from '../../src/kernel/runtime/process-record.ts'
import { ask } from '../harness/client.ts'
import { median, type Figure, type Measure } from '../harness/figure.ts'
import { Installation, type Started } from '../harness/installation.ts'
import { fitTrees, inferBody, label, makeRows, toOnnx } from '../harness/tree-model.ts'

const MODEL = 'trees'
const STARTS = 10
/** Start-up's garbage is gone by then. */
const SETTLE_MS = 3_000

/** Starts of an installation that has been used: the database is there, and one small model is live. */
export const start: Figure = {
  id: 'P13',
  title: '`millrace up` to ready, second start, and memory with one small model',
  async measure({ samples, note }) {
    const count = samples ?? STARTS
    const millrace = new Installation(project())
    try {
      await millrace.up()
      await millrace.importChampion(MODEL, 'model.onnx')
      await millrace.down()
      const starts: Start[] = []
      for (let i = 0; i < count; i++) {
        starts.push(await startOnce(millrace))
        const { upMs, allReadyMs, memory } = starts.at(-1)!
        note(
          `start ${i + 1} of ${count}: ready ${Math.round(allReadyMs)} ms, serving ${Math.round(upMs)} ms, ${Math.round(sum(memory, 'pss'))} MB`,
        )
      }
      return report(starts)
    } finally {
      await millrace.remove()
    }
  },
}

interface Memory {
  /** What it uses, with its share of what is shared, in MB. */
  pss: number
  /** The same with all of what is shared, in MB. */
  rss: number
}

interface Start extends Started {
  answeredMs: number
  memory: Record<string, Memory>
}

async function startOnce(millrace: Installation): Promise<Start> {
  const startMs = performance.now()
  const started = await millrace.up()
  await ask(undefined, millrace.port, `/v2/models/${MODEL}/infer`, inferBody())
  const answeredMs = performance.now() - startMs
  await sleep(SETTLE_MS)
  const memory = memoryOf(millrace)
  await millrace.down()
  return { ...started, answeredMs, memory }
}

/** Of every process that Millrace has started, itself included. */
function memoryOf(millrace: Installation): Start['memory'] {
  const records = readProcessRecords(millrace.dataDir).map(
    ({ role, pid }, i) => [role === 'replica' ? `replica ${i}` : role, pid] as const,
  )
  const known = new Set(records.map(([, pid]) => pid))
  const others = childrenOf(known).map((pid) => [`process ${pid}`, pid] as const)
  return Object.fromEntries([...records, ...others].map(([name, pid]) => [name, readMemory(pid)]))
}

function childrenOf(pids: Set<number>): number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const parent = (pid: string) => Number(/^PPid:\s+(\d+)/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1])
  return all.filter((pid) => pids.has(parent(pid)) && !pids.has(Number(pid))).map(Number)
}

function readMemory(pid: number): Memory {
  const text = readOrEmpty(`/proc/${pid}/smaps_rollup`)
  const megabytes = (name: string) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024) / 1e6
  return { pss: megabytes('Pss'), rss: megabytes('Rss') }
}

/** A process may have gone meanwhile; one that is there shows itself. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

const sum = (memory: Start['memory'], of: keyof Memory) =>
  Object.values(memory).reduce((total, one) => total + one[of], 0)

function report(starts: Start[]) {
  const roles = ['supervisor', 'control-plane', 'gateway', 'replica']
  const pssOf = (role: string) =>
    starts.map(({ memory }) =>
      sum(Object.fromEntries(Object.entries(memory).filter(([name]) => name.startsWith(role))), 'pss'),
    )
  const readyOf = (id: string) => starts.map(({ processes }) => processes[id] ?? Number.NaN)
  const measure = (
    name: string,
    unit: Measure['unit'],
    samples: number[],
    target: Measure['target'] = null,
  ): Measure => ({ name, unit, samples, target })
  const processes = ['control-plane', 'gateway']
  return {
    setup: { starts: starts.length, models: 1, replicas: 2, store: 'embedded' },
    measures: [
      measure(
        'up says ready: every process and the live model answer',
        'ms',
        starts.map((s) => s.upMs),
        { of: 'p50', atMost: 1_500 },
      ),
      measure(
        'first prediction answered',
        'ms',
        starts.map((s) => s.answeredMs),
      ),
      measure(
        'control plane and gateway answer',
        'ms',
        starts.map((s) => s.allReadyMs),
      ),
      ...processes.map((id) => measure(`${id} answers`, 'ms', readyOf(id))),
      measure(
        'memory of all processes (PSS)',
        'MB',
        starts.map((s) => sum(s.memory, 'pss')),
        { of: 'p50', atMost: 500 },
      ),
      measure(
        'memory of all processes (RSS, shared pages counted in each)',
        'MB',
        starts.map((s) => sum(s.memory, 'rss')),
      ),
      ...roles.map((role) => measure(`PSS, ${role}${role === 'replica' ? 's' : ''}`, 'MB', pssOf(role))),
    ],
    limitedBy:
      `Start: ${processes.map((id) => `${id} answers after ${Math.round(median(readyOf(id)))} ms`).join(', ')}, the rest is the replicas'. ` +
      `Memory: ${roles.map((role) => `${role} ${Math.round(median(pssOf(role)))} MB`).join(', ')} (medians, PSS).`,
  }
}

function project(): Record<string, string | Uint8Array> {
  const rows = makeRows(2_000, 1)
  const config = {
    name: 'bench-start',
    gateway: { port: 0 },
    models: { [MODEL]: { task: 'binary', label, train: 'true' } },
  }
  return { 'millrace.yaml': JSON.stringify(config), 'model.onnx': toOnnx(fitTrees(rows)) }
}
