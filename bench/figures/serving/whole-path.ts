import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Figure } from '../../harness/figure.ts'
import { packageRoot } from '../../harness/package.ts'
import { Comparison, SAMPLE } from '../../harness/serving/comparison.ts'
import { DataPlane, inferPath, routeTo } from '../../harness/serving/data-plane.ts'
import type { RunningProcess } from '../../harness/serving/data-plane.ts'
import { driveMeasured, generator } from '../../harness/serving/drive.ts'
import { writeSmallModel } from '../../harness/serving/models.ts'
import type { ServedModel } from '../../harness/serving/models.ts'
import { freePort, untilItListens } from '../../harness/serving/nginx.ts'
import { CORES, spawnPinned, stop } from '../../harness/serving/pinned.ts'

type Way = 'Millrace' | 'node:http'

/** Both are two processes, one a core, and the load generator runs where there is room. */
export const wholePath: Figure = {
  id: 'P3',
  title: 'Gateway, prediction log and model server, against a proxy and a server of node:http with one run a request',
  async measure({ samples, note }) {
    const plane = await DataPlane.open()
    try {
      const model = writeSmallModel(plane.dir)
      const ways = { Millrace: await startMillrace(plane, model), 'node:http': await startPlain(plane, model) }
      const seen = new Comparison<Way>()
      const order = { path: inferPath(model), body: model.body, ...SAMPLE, cores: CORES.any }
      for (let round = 0; round < (samples ?? SAMPLE.rounds); round++) {
        for (const way of Object.keys(ways) as Way[]) {
          const driven = await driveMeasured({ ...order, port: ways[way].port }, ways[way].pids)
          seen.add(way, driven)
          note(`${way}: ${Math.round(driven.requestsPerSecond)} requests/s`)
        }
      }
      return report(seen, model.body.length)
    } finally {
      await plane.close()
    }
  },
}

interface Started {
  port: number
  /** Front, server. */
  pids: number[]
}

export async function startMillrace(plane: DataPlane, model: ServedModel): Promise<Started> {
  const server = await plane.modelServer({ cores: CORES.back, model })
  const gateway = await plane.gateway([routeTo(model, [server.replica])], { cores: CORES.front })
  return { port: gateway.port, pids: [gateway.pid, server.pid] }
}

async function startPlain(plane: DataPlane, model: ServedModel): Promise<Started> {
  const serverPort = await freePort()
  const port = await freePort()
  const server = await startNode(plane, CORES.back, serverPort, 'plain-server.mjs', model.path)
  const proxy = await startNode(plane, CORES.front, port, 'plain-proxy.mjs', String(serverPort))
  return { port, pids: [proxy.pid, server.pid] }
}

async function startNode(
  plane: DataPlane,
  cores: string,
  port: number,
  name: string,
  arg: string,
): Promise<RunningProcess> {
  const file = join(packageRoot, 'bench', 'servers', name)
  const child = spawnPinned(cores, process.execPath, [file, String(port), arg], { stdio: 'inherit' })
  await untilItListens(port)
  return plane.keep({ pid: child.pid!, stop: () => stop(child) })
}

const both = ({ processorUs: [front = 0, server = 0] }: { processorUs: number[] }) => front + server

function report(seen: Comparison<Way>, bodyBytes: number) {
  const own = `${seen.processorUs('Millrace').toFixed(1)} + ${seen.processorUs('Millrace', 1).toFixed(1)} µs`
  const plain = `${seen.processorUs('node:http').toFixed(1)} + ${seen.processorUs('node:http', 1).toFixed(1)} µs`
  return {
    setup: {
      connections: SAMPLE.connections,
      'bytes of a body': bodyBytes,
      'seconds a sample': SAMPLE.countMs / 1_000,
      'load generator': generator,
      log: 'relaxed',
    },
    measures: [
      {
        name: 'throughput, times that of node:http',
        unit: 'ratio' as const,
        samples: seen.ratios('Millrace', 'node:http'),
        target: { of: 'p50' as const, atLeast: 5 },
      },
      {
        name: 'processor time of a request by node:http, times ours',
        unit: 'ratio' as const,
        samples: seen.ratios('node:http', 'Millrace', both),
        target: null,
      },
      ...seen.measures('Millrace', ['gateway', 'model server']),
      ...seen.measures('node:http', ['proxy', 'server']),
    ],
    limitedBy:
      `Processors: a request takes ${own} of gateway and model server, and ${plain} of proxy and server of node:http; ` +
      `${othersUs(seen, 'Millrace')} and ${othersUs(seen, 'node:http')} µs of processor time besides are the load ` +
      `generator's, or idle. The gateway's share is mostly node:net and the system: one read and one write a request.`,
  }
}

/** Of the processors that are used, three at most, by request, what neither of the two processes took. */
function othersUs(seen: Comparison<Way>, way: Way): string {
  const allUs = (Math.min(3, availableParallelism()) * 1e6) / seen.rate(way)
  return Math.max(0, allUs - seen.processorUs(way) - seen.processorUs(way, 1)).toFixed(1)
}
