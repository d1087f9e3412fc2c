import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { median, quantile } from '../../harness/figure.ts'
import type { Figure } from '../../harness/figure.ts'
import { DataPlane, inferPath, routeTo } from '../../harness/serving/data-plane.ts'
import { writeSmallModel } from '../../harness/serving/models.ts'
import type { Paced } from '../../harness/serving/paced-child.ts'
import { CORES, spawnPinned } from '../../harness/serving/pinned.ts'
import { startUpstream } from '../../harness/serving/upstream.ts'

const MODEL_MS = 5
/** Half of what a model can do that computes one request after the other. */
const EVERY_MS = MODEL_MS * 2
const REQUESTS = 400
const ROUNDS = 5

interface Sample {
  p50: number
  p99: number
}

/** The same requests at the same pace, once to the model itself (HTTP) and once through the gateway. */
export const addedLatency: Figure = {
  id: 'P1b',
  title: 'Latency that gateway and prediction log add to a model of 5 ms at half of its capacity',
  async measure({ samples, note }) {
    const plane = await DataPlane.open()
    try {
      const model = writeSmallModel(plane.dir)
      const upstream = await startUpstream(plane, CORES.back, MODEL_MS)
      const gateway = await plane.gateway([routeTo(model, [upstream.replica])], { cores: CORES.front })
      const order = { path: inferPath(model), body: model.body, everyMs: EVERY_MS, requests: REQUESTS }
      await pace({ ...order, port: gateway.port }) // the first requests are not those that are meant
      const direct: Sample[] = []
      const through: Sample[] = []
      for (let round = 0; round < (samples ?? ROUNDS); round++) {
        direct.push(await pace({ ...order, port: upstream.port }))
        through.push(await pace({ ...order, port: gateway.port }))
        note(`p50 ${direct.at(-1)!.p50.toFixed(2)} ms, through the gateway ${through.at(-1)!.p50.toFixed(2)} ms`)
      }
      return report(direct, through)
    } finally {
      await plane.close()
    }
  },
}

/** The client has the gateway's core where there are two: the model's is busy. */
async function pace(order: Paced): Promise<Sample> {
  const file = fileURLToPath(new URL('../../harness/serving/paced-child.ts', import.meta.url))
  const cores = CORES.load === CORES.back ? CORES.front : CORES.load
  const child = spawnPinned(cores, process.execPath, [file], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.send(order)
  const [latencies] = (await once(child, 'message')) as [number[]]
  return { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
}

function report(direct: Sample[], through: Sample[]) {
  const added = (which: keyof Sample) => through.map((sample, round) => sample[which] - direct[round]![which])
  const measure = (name: string, values: number[]) => ({ name, unit: 'ms' as const, samples: values, target: null })
  return {
    setup: {
      'ms of the model': MODEL_MS,
      'requests/s': 1_000 / EVERY_MS,
      'requests a sample': REQUESTS,
      log: 'relaxed',
    },
    measures: [
      { name: 'added, p50', unit: 'ms' as const, samples: added('p50'), target: { of: 'p50' as const, atMost: 0.3 } },
      { name: 'added, p99', unit: 'ms' as const, samples: added('p99'), target: { of: 'p50' as const, atMost: 1 } },
      measure(
        'the model itself, p50',
        direct.map(({ p50 }) => p50),
      ),
      measure(
        'the model itself, p99',
        direct.map(({ p99 }) => p99),
      ),
      measure(
        'through the gateway, p50',
        through.map(({ p50 }) => p50),
      ),
      measure(
        'through the gateway, p99',
        through.map(({ p99 }) => p99),
      ),
    ],
    limitedBy: `Waking up a process that sleeps, twice more than without a gateway (median ${median(added('p50')).toFixed(2)} ms).`,
  }
}
