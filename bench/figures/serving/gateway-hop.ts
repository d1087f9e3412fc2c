import type { Figure } from '../../harness/figure.ts'
import { Comparison, SAMPLE } from '../../harness/serving/comparison.ts'
import { DataPlane, inferPath, routeTo } from '../../harness/serving/data-plane.ts'
import { driveMeasured, generator } from '../../harness/serving/drive.ts'
import { writeSmallModel } from '../../harness/serving/models.ts'
import { nginxPath, startNginx } from '../../harness/serving/nginx.ts'
import { CORES } from '../../harness/serving/pinned.ts'
import { startUpstream } from '../../harness/serving/upstream.ts'

/** Both in front of the same upstream, which answers at once: over TCP to nginx, over frames to the gateway. */
export const gatewayHop: Figure = {
  id: 'P1',
  title: 'Gateway hop with the prediction log on, against nginx as a reverse proxy over TCP',
  async measure({ samples, note }) {
    const plane = await DataPlane.open()
    try {
      const model = writeSmallModel(plane.dir)
      const upstream = await startUpstream(plane, CORES.back)
      const gateway = await plane.gateway([routeTo(model, [upstream.replica])], { cores: CORES.front })
      const nginxIsAt = nginxPath(note)
      const nginx = nginxIsAt === null ? null : await startNginx(plane, nginxIsAt, CORES.front, upstream.port)
      const seen = new Comparison<'gateway' | 'nginx'>()
      const order = { path: inferPath(model), body: model.body, ...SAMPLE, cores: CORES.load }
      for (let round = 0; round < (samples ?? SAMPLE.rounds); round++) {
        for (const hop of [
          { name: 'gateway' as const, running: gateway },
          { name: 'nginx' as const, running: nginx },
        ]) {
          if (hop.running === null) continue
          const { port, pid } = hop.running
          const driven = await driveMeasured({ ...order, port }, [pid, upstream.pid])
          seen.add(hop.name, driven)
          note(
            `${hop.name}: ${Math.round(driven.requestsPerSecond)} requests/s, ${driven.processorUs[0]!.toFixed(1)} µs`,
          )
        }
      }
      return report(seen, nginx?.version ?? null, model.body.length)
    } finally {
      await plane.close()
    }
  },
}

function report(seen: Comparison<'gateway' | 'nginx'>, nginxVersion: string | null, bodyBytes: number) {
  const own = seen.measures('gateway', ['gateway', 'upstream'])
  const setup = {
    connections: SAMPLE.connections,
    'bytes of a body': bodyBytes,
    'seconds a sample': SAMPLE.countMs / 1_000,
    'load generator': generator,
    nginx: nginxVersion ?? 'not installed: skipped',
  }
  const gatewayUs = seen.processorUs('gateway').toFixed(1)
  if (nginxVersion === null) return { setup, measures: own, limitedBy: `The gateway's processor: ${gatewayUs} µs.` }
  return {
    setup,
    measures: [
      {
        name: 'throughput of the gateway, times that of nginx',
        unit: 'ratio' as const,
        samples: seen.ratios('gateway', 'nginx'),
        target: { of: 'p50' as const, atLeast: 1 },
      },
      {
        name: 'p99 of the gateway, times that of nginx',
        unit: 'ratio' as const,
        samples: seen.ratios('gateway', 'nginx', ({ p99Ms }) => p99Ms),
        target: { of: 'p50' as const, atMost: 2 },
      },
      ...own,
      ...seen.measures('nginx', ['nginx', 'upstream']),
    ],
    limitedBy:
      `The processor of the hop: a request takes ${gatewayUs} µs of the gateway's (log included) and ` +
      `${seen.processorUs('nginx').toFixed(1)} µs of nginx's.`,
  }
}
