import { median, type Figure } from '../harness/figure.ts'
import { Installation } from '../harness/installation.ts'
import { load, type LoadResult } from '../harness/load.ts'
import { fitTrees, inferBody, label, makeRows, toOnnx } from '../harness/tree-model.ts'

const MODES = ['off', 'relaxed', 'durable'] as const
const CONNECTIONS = 32
const ROUNDS = 5
const WARM_MS = 1_000
const COUNT_MS = 4_000

type Mode = (typeof MODES)[number]

/** Gateway and model server together, the same model behind three endpoints that differ in their prediction log. */
export const serving: Figure = {
  id: 'serving',
  title: 'Gateway, prediction log and model server at 32 connections, before tuning',
  async measure({ samples, note }) {
    const millrace = new Installation(project())
    try {
      await millrace.up()
      for (const mode of MODES) await millrace.importChampion(mode, 'model.onnx')
      const seen: Record<Mode, LoadResult[]> = { off: [], relaxed: [], durable: [] }
      for (let round = 0; round < (samples ?? ROUNDS); round++) {
        // In turn, so that what the machine does besides touches all of them.
        for (const mode of MODES) seen[mode].push(await loadOnce(millrace.port, mode, note))
      }
      return report(seen)
    } finally {
      await millrace.remove()
    }
  },
}

async function loadOnce(port: number, mode: Mode, note: (text: string) => void): Promise<LoadResult> {
  const path = `/v2/models/${mode}/infer`
  const result = await load({
    port,
    path,
    body: inferBody(),
    connections: CONNECTIONS,
    warmMs: WARM_MS,
    countMs: COUNT_MS,
  })
  note(`log ${mode}: ${Math.round(result.requestsPerSecond)} requests/s, p99 ${result.p99Ms.toFixed(1)} ms`)
  if (result.failed > 0) throw new Error(`${result.failed} requests failed with the log ${mode}`)
  return result
}

function report(seen: Record<Mode, LoadResult[]>) {
  const rate = (mode: Mode) => median(seen[mode].map((r) => r.requestsPerSecond))
  const share = (mode: Mode) => `${Math.round(100 * (1 - rate(mode) / rate('off')))}%`
  return {
    setup: {
      connections: CONNECTIONS,
      'rows a request': 1,
      columns: 10,
      replicas: 1,
      'seconds a sample': COUNT_MS / 1_000,
    },
    measures: MODES.flatMap((mode) => [
      {
        name: `log ${mode}: throughput`,
        unit: 'requests/s' as const,
        samples: seen[mode].map((r) => r.requestsPerSecond),
        target: null,
      },
      { name: `log ${mode}: latency p50`, unit: 'ms' as const, samples: seen[mode].map((r) => r.p50Ms), target: null },
      { name: `log ${mode}: latency p99`, unit: 'ms' as const, samples: seen[mode].map((r) => r.p99Ms), target: null },
    ]),
    limitedBy:
      `Processors: gateway, model server and load generator share those of this machine. ` +
      `Against no log, relaxed costs ${share('relaxed')} of the throughput and durable ${share('durable')}.`,
  }
}

function project(): Record<string, string | Uint8Array> {
  const model = (mode: Mode) => ({ task: 'binary', label, train: 'true', serving: { replicas: 1 }, log: { mode } })
  const config = {
    name: 'bench-serving',
    gateway: { port: 0 },
    models: Object.fromEntries(MODES.map((mode) => [mode, model(mode)])),
  }
  return { 'millrace.yaml': JSON.stringify(config), 'model.onnx': toOnnx(fitTrees(makeRows(2_000, 1))) }
}
