import type { Figure } from '../../harness/figure.ts'
import { Comparison, SAMPLE } from '../../harness/serving/comparison.ts'
import { DataPlane, inferPath } from '../../harness/serving/data-plane.ts'
import { driveMeasured, generator } from '../../harness/serving/drive.ts'
import { writeLargerModel } from '../../harness/serving/models.ts'
import { CORES } from '../../harness/serving/pinned.ts'

const WAYS = { batching: 64, alone: 1 } as const
type Way = keyof typeof WAYS

/** The same server twice, over HTTP: as it is, and told that a run takes one row. */
export const batching: Figure = {
  id: 'P5',
  title: 'Network 784-512-512-10: natural batching against one run a request, in the same model server',
  async measure({ samples, note }) {
    const plane = await DataPlane.open()
    try {
      const model = writeLargerModel(plane.dir)
      const servers = {
        batching: await plane.modelServer({ cores: CORES.front, model, maxBatchRows: WAYS.batching }),
        alone: await plane.modelServer({ cores: CORES.front, model, maxBatchRows: WAYS.alone }),
      }
      const seen = new Comparison<Way>()
      const order = { path: inferPath(model), body: model.body, ...SAMPLE, cores: CORES.load }
      for (let round = 0; round < (samples ?? SAMPLE.rounds); round++) {
        for (const way of Object.keys(WAYS) as Way[]) {
          const { port, pid } = servers[way]
          const driven = await driveMeasured({ ...order, port }, [pid])
          seen.add(way, driven)
          note(`${way}: ${Math.round(driven.requestsPerSecond)} requests/s, ${driven.processorUs[0]!.toFixed(0)} µs`)
        }
      }
      return report(seen, model.body.length)
    } finally {
      await plane.close()
    }
  },
}

function report(seen: Comparison<Way>, bodyBytes: number) {
  return {
    setup: {
      connections: SAMPLE.connections,
      'bytes of a body': bodyBytes,
      'seconds a sample': SAMPLE.countMs / 1_000,
      'load generator': generator,
    },
    measures: [
      {
        name: 'throughput of batching, times one run a request',
        unit: 'ratio' as const,
        samples: seen.ratios('batching', 'alone'),
        target: { of: 'p50' as const, atLeast: 2 },
      },
      ...seen.measures('batching', ['model server']),
      ...seen.measures('alone', ['model server']),
    ],
    limitedBy:
      `Of ${seen.processorUs('batching').toFixed(0)} µs a request with batching (alone: ` +
      `${seen.processorUs('alone').toFixed(0)} µs) most is reading ${bodyBytes} bytes of JSON numbers, which no batch saves.`,
  }
}
