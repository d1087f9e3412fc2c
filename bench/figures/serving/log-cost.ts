import { median } from '../../harness/figure.ts'
import type { Figure } from '../../harness/figure.ts'
import { Comparison, SAMPLE } from '../../harness/serving/comparison.ts'
import { DataPlane, routeTo } from '../../harness/serving/data-plane.ts'
import { driveMeasured, generator } from '../../harness/serving/drive.ts'
import { writeSmallModel } from '../../harness/serving/models.ts'
import { CORES } from '../../harness/serving/pinned.ts'
import { startUpstream } from '../../harness/serving/upstream.ts'

const MODES = ['off', 'relaxed'] as const
type Mode = (typeof MODES)[number]

/** One gateway, two endpoints that differ in their log; the gateway's processor is what bounds both. */
export const logCost: Figure = {
  id: 'P2',
  title: 'What the relaxed prediction log costs of the throughput',
  async measure({ samples, note }) {
    const plane = await DataPlane.open()
    try {
      const model = writeSmallModel(plane.dir)
      const upstream = await startUpstream(plane, CORES.back)
      const routes = MODES.map((logMode) => routeTo(model, [upstream.replica], { endpoint: `log-${logMode}`, logMode }))
      const gateway = await plane.gateway(routes, { cores: CORES.front })
      const seen = new Comparison<Mode>()
      const order = { body: model.body, ...SAMPLE, cores: CORES.load, port: gateway.port }
      for (let round = 0; round < (samples ?? SAMPLE.rounds); round++) {
        for (const mode of MODES) {
          const path = `/v2/models/log-${mode}/infer`
          const driven = await driveMeasured({ ...order, path }, [gateway.pid])
          seen.add(mode, driven)
          note(
            `log ${mode}: ${Math.round(driven.requestsPerSecond)} requests/s, ${driven.processorUs[0]!.toFixed(1)} µs`,
          )
        }
      }
      return report(seen)
    } finally {
      await plane.close()
    }
  },
}

function report(seen: Comparison<Mode>) {
  const costs = seen.ratios('relaxed', 'off').map((ratio) => 100 * (1 - ratio))
  const extraUs = (seen.processorUs('relaxed') - seen.processorUs('off')).toFixed(1)
  return {
    setup: {
      connections: SAMPLE.connections,
      'seconds a sample': SAMPLE.countMs / 1_000,
      'load generator': generator,
      'group commit': '≤ 10 ms, fdatasync',
    },
    measures: [
      {
        name: 'throughput that the log costs',
        unit: '%' as const,
        samples: costs,
        target: { of: 'p50' as const, atMost: 10 },
      },
      ...seen.measures('relaxed', ['gateway']),
      ...seen.measures('off', ['gateway']),
    ],
    limitedBy: `The log takes ${extraUs} µs of the gateway's processor by request, writing and checksums included (median cost ${median(costs).toFixed(1)}%).`,
  }
}
