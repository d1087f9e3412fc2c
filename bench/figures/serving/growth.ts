import type { Figure } from '../../harness/figure.ts'
import type { EndpointRoute, RoutedReplica } from '../../../src/kernel/contract/routing.ts'
import { Comparison, SAMPLE } from '../../harness/serving/comparison.ts'
import { DataPlane, routeTo } from '../../harness/serving/data-plane.ts'
import { driveMeasured, generator } from '../../harness/serving/drive.ts'
import { writeSmallModel } from '../../harness/serving/models.ts'
import type { ServedModel } from '../../harness/serving/models.ts'
import { CORES } from '../../harness/serving/pinned.ts'
import { startUpstream } from '../../harness/serving/upstream.ts'

const VERSIONS = 1_000
const ENDPOINTS = 100
const SIZES = ['one', '1,000 versions', '100 endpoints', '100 endpoints in turn'] as const
type Size = (typeof SIZES)[number]

/** A gateway each: what a request costs is to depend on the request, not on how much else there is. */
export const growth: Figure = {
  id: 'P6',
  title: 'Gateway processor time of a request: 1 → 1,000 versions known, 1 → 100 live endpoints',
  async measure({ samples, note }) {
    const plane = await DataPlane.open()
    try {
      const model = writeSmallModel(plane.dir)
      const upstream = await startUpstream(plane, CORES.back)
      const seen = new Comparison<Size>()
      for (let round = 0; round < (samples ?? SAMPLE.rounds); round++) {
        for (const size of SIZES) {
          const gateway = await plane.gateway(routesOf(size, model, upstream.replica), { cores: CORES.front })
          const paths = size === '100 endpoints in turn' ? endpointPaths() : [endpointPaths()[0]!]
          const driven = await driveMeasured(
            {
              path: paths[0]!,
              paths,
              body: model.body,
              ...SAMPLE,
              warmMs: 3_000,
              cores: CORES.load,
              port: gateway.port,
            },
            [gateway.pid],
          )
          seen.add(size, driven)
          note(`${size}: ${driven.processorUs[0]!.toFixed(1)} µs a request`)
          await gateway.stop()
        }
      }
      return report(seen)
    } finally {
      await plane.close()
    }
  },
}

const endpointPaths = () => Array.from({ length: ENDPOINTS }, (_, i) => `/v2/models/endpoint-${i}/infer`)

function routesOf(size: Size, model: ServedModel, replica: RoutedReplica): EndpointRoute[] {
  const count = size.startsWith('100 endpoints') ? ENDPOINTS : 1
  return Array.from({ length: count }, (_, i) => {
    const deploymentId = `deployment-${i}`
    const route = routeTo(model, [replica], { endpoint: `endpoint-${i}`, deploymentId })
    if (size !== '1,000 versions') return route
    // Deployed and not asked: any of them may be named by a client.
    const others = Array.from({ length: VERSIONS - 1 }, (_other, n) => ({
      ...route.deployments[0]!,
      deploymentId: `other-${n}`,
      version: String(n + 2),
    }))
    return { ...route, deployments: [...route.deployments, ...others] }
  })
}

function report(seen: Comparison<Size>) {
  const us = ({ processorUs }: { processorUs: number[] }) => processorUs[0]!
  return {
    setup: {
      connections: SAMPLE.connections,
      'seconds a sample': SAMPLE.countMs / 1_000,
      'load generator': generator,
      log: 'relaxed',
    },
    measures: [
      ...SIZES.slice(1).map((size) => ({
        name: `${size}, times one`,
        unit: 'ratio' as const,
        samples: seen.ratios(size, 'one', us),
        target: { of: 'p50' as const, atMost: 1.1 },
      })),
      ...SIZES.flatMap((size) => seen.measures(size, ['gateway'])),
    ],
    limitedBy:
      'With 100 endpoints in turn, requests of one moment go to 100 replicas over 100 connections instead of one: what was ' +
      'one write and one read for many requests is one of each for every request.',
  }
}
