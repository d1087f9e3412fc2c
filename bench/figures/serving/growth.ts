import type { Figure } from '../../harness/figure.ts'
import type { EndpointRoute, RoutedReplica } from '../../../src/kernel/contract/routing.ts'
import { Comparison, SAMPLE } from '../../harness/serving/comparison.ts'
import { DataPlane, routeTo } from '../../harness/serving/data-plane.ts'
import type { RunningProcess } from '../../harness/serving/data-plane.ts'
import { driveMeasured, generator } from '../../harness/serving/drive.ts'
import { writeSmallModel } from '../../harness/serving/models.ts'
import type { ServedModel } from '../../harness/serving/models.ts'
import { nginxPath, startNginx } from '../../harness/serving/nginx.ts'
import { CORES } from '../../harness/serving/pinned.ts'
import { startUpstream } from '../../harness/serving/upstream.ts'

/** One fewer than others have, as there are more ways. */
const ROUNDS = 4
const VERSIONS = 1_000
const ENDPOINTS = 100
/** As many as there are requests under way: each has a connection to itself. */
const REPLICAS = SAMPLE.connections
const SIZES = [
  'one',
  '1,000 versions',
  '100 endpoints, one asked',
  '100 endpoints in turn',
  'one of 32 replicas',
  'nginx, one',
  'nginx, 100 upstreams in turn',
] as const
type Size = (typeof SIZES)[number]

/**
 * What a request costs is to depend on the request, not on how much else there is. Asked in turn, each of a hundred
 * replicas has its own connection, and what was one write for many requests is one for each: what of the growth comes
 * from that is told by one endpoint whose requests are as far apart, and by nginx, which never gathers any.
 */
export const growth: Figure = {
  id: 'P6',
  title: 'Gateway processor time of a request: 1 → 1,000 versions known, 1 → 100 live endpoints',
  async measure({ samples, note }) {
    const planes: DataPlane[] = []
    try {
      const running = await startAll(planes, note)
      const seen = new Comparison<Size>()
      for (let round = 0; round < (samples ?? ROUNDS); round++) {
        for (const { size, hop, paths, body } of running) {
          const order = { path: paths[0]!, paths, body, ...SAMPLE, cores: CORES.load, port: hop.port }
          const driven = await driveMeasured(order, [hop.pid])
          seen.add(size, driven)
          note(`${size}: ${driven.processorUs[0]!.toFixed(1)} µs a request`)
        }
      }
      return report(seen)
    } finally {
      for (const plane of planes) await plane.close()
    }
  },
}

interface Running {
  size: Size
  hop: RunningProcess & { port: number }
  paths: string[]
  body: string
}

/** Each gateway has a control plane of its own, as all that follow one have the same routes. */
async function startAll(planes: DataPlane[], note: (text: string) => void): Promise<Running[]> {
  const running: Running[] = []
  const nginxIsAt = nginxPath(note)
  for (const size of SIZES) {
    const isNginx = size.startsWith('nginx')
    if (isNginx && nginxIsAt === null) continue
    const plane = await DataPlane.open()
    planes.push(plane)
    const model = writeSmallModel(plane.dir)
    const upstream = await startUpstream(plane, CORES.back)
    const paths = Array.from({ length: size.endsWith('in turn') ? ENDPOINTS : 1 }, (_, i) => pathOf(i))
    const hop = isNginx
      ? await startNginx(plane, nginxIsAt!, CORES.front, upstream.port, paths.length > 1 ? paths : [])
      : await plane.gateway(routesOf(size, model, upstream.replica), { cores: CORES.front })
    running.push({ size, hop, paths, body: model.body })
  }
  return running
}

const pathOf = (i: number) => `/v2/models/endpoint-${i}/infer`

function routesOf(size: Size, model: ServedModel, replica: RoutedReplica): EndpointRoute[] {
  const count = size.startsWith('100 endpoints') ? ENDPOINTS : 1
  const replicas =
    size === 'one of 32 replicas'
      ? Array.from({ length: REPLICAS }, (_, i) => ({ ...replica, replicaId: `replica-${i}` }))
      : [replica]
  return Array.from({ length: count }, (_, i) => {
    const deploymentId = `deployment-${i}`
    const route = routeTo(model, replicas, { endpoint: `endpoint-${i}`, deploymentId })
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
  const times = (size: Size, other: Size, isJudged: boolean) => ({
    name: `${size}, times ${other}`,
    unit: 'ratio' as const,
    samples: seen.ratios(size, other, us),
    target: isJudged ? { of: 'p50' as const, atMost: 1.1 } : null,
  })
  const hasNginx = seen.of('nginx, one').length > 0
  const apart = seen.processorUs('one of 32 replicas')
  return {
    setup: {
      connections: SAMPLE.connections,
      'seconds a sample': SAMPLE.countMs / 1_000,
      'load generator': generator,
      log: 'relaxed',
    },
    measures: [
      times('1,000 versions', 'one', true),
      times('100 endpoints, one asked', 'one', true),
      times('100 endpoints in turn', 'one', true),
      times('100 endpoints in turn', 'one of 32 replicas', true),
      times('one of 32 replicas', 'one', false),
      ...(hasNginx ? [times('nginx, 100 upstreams in turn', 'nginx, one', false)] : []),
      ...SIZES.filter((size) => seen.of(size).length > 0).flatMap((size) =>
        seen.measures(size, [size.startsWith('nginx') ? 'nginx' : 'gateway']),
      ),
    ],
    limitedBy:
      'With 100 endpoints in turn, requests of one moment go to 100 replicas over 100 connections: what is one write and ' +
      `one read for many requests where one replica is asked (${seen.processorUs('one').toFixed(1)} µs) is one of each ` +
      `for every request (${seen.processorUs('100 endpoints in turn').toFixed(1)} µs), as it is for a single endpoint ` +
      `with as many replicas as requests under way (${apart.toFixed(1)} µs).`,
  }
}
