import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { OpenParser } from '../../src/serving/front/http/parser.ts'
import { openStrictParser } from '../../src/serving/front/http/strict-parser.ts'
import { openLlhttpParser } from '../../src/testing/llhttp-parser.ts'
import { median, type Figure } from '../harness/figure.ts'
import type { ServerCounts, Variant } from '../harness/http-server-child.ts'
import { load } from '../harness/load.ts'

const VARIANTS: Variant[] = [
  'no parsing, no front',
  'no parsing',
  'strict',
  'strict, no head like the last',
  'llhttp (WebAssembly)',
  'node:http',
]
const CONNECTIONS = 32
const ROUNDS = 7
const WARM_MS = 2_000
const COUNT_MS = 3_000
/** Requests of one sample of a parser alone, without sockets. */
const ALONE = 200_000
const BODY = JSON.stringify({
  id: '1',
  inputs: [{ name: 'x', shape: [1, 10], datatype: 'FP32', data: [1.5, 2, 3, 4, 5.25, 6, 7, 8, 9, 10] }],
})

/** What the HTTP/1.1 front and its parsers cost, each in a server process of its own that does nothing else. */
export const httpParser: Figure = {
  id: 'http-parser',
  title: 'Processor time of a request of 10 numbers in the HTTP/1.1 front, by parser, answered with the same words',
  async measure({ samples, note }) {
    const servers = await Promise.all(VARIANTS.map(start))
    const alone = parsersAlone()
    try {
      for (const server of servers) await server.measure(WARM_MS)
      for (let round = 0; round < (samples ?? ROUNDS); round++) {
        // In turn, so that what the machine does besides touches all of them.
        for (const parser of alone) parser.microseconds.push(parser.measure())
        for (const server of servers) {
          server.microseconds.push(await server.measure(COUNT_MS))
          note(`${server.variant}: ${server.microseconds.at(-1)!.toFixed(2)} µs a request`)
        }
      }
    } finally {
      for (const server of servers) server.child.kill()
    }
    return report(servers, alone)
  },
}

interface Running {
  variant: Variant
  child: ChildProcess
  microseconds: number[]
  /** @returns processor time of the server by request, in µs */
  measure(forMs: number): Promise<number>
}

async function start(variant: Variant): Promise<Running> {
  const file = fileURLToPath(new URL('../harness/http-server-child.ts', import.meta.url))
  const child = fork(file, [variant], { execArgv: [] })
  const [port] = (await once(child, 'message')) as [number]
  const counts = async (): Promise<ServerCounts> => {
    child.send('counts')
    return ((await once(child, 'message')) as [ServerCounts])[0]
  }
  return {
    variant,
    child,
    microseconds: [],
    async measure(forMs) {
      const before = await counts()
      const order = {
        port,
        path: '/v2/models/m/infer',
        body: BODY,
        connections: CONNECTIONS,
        warmMs: 0,
        countMs: forMs,
      }
      const { failed } = await load(order)
      if (failed > 0) throw new Error(`${failed} requests failed with ${variant}`)
      const after = await counts()
      return (after.processorUs - before.processorUs) / (after.requests - before.requests)
    },
  }
}

interface Alone {
  name: string
  microseconds: number[]
  measure(): number
}

function parsersAlone(): Alone[] {
  const head = (n: number): string =>
    `POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1:8700\r\nContent-Type: application/json\r\n` +
    `Traceparent: 00-${String(n).padStart(32, '0')}-01\r\nContent-Length: ${BODY.length}\r\n\r\n`
  const same = [Buffer.from(head(0) + BODY)]
  const other = Array.from({ length: 1_000 }, (_, n) => Buffer.from(head(n) + BODY))
  return [
    alone('parser alone: strict, the same head again', openStrictParser, same),
    alone('parser alone: strict, no head like the last', openStrictParser, other),
    alone('parser alone: llhttp (WebAssembly)', openLlhttpParser, other),
  ]
}

function alone(name: string, open: OpenParser, requests: Buffer[]): Alone {
  let ended = 0
  const parser = open(
    { headBytes: 16 * 1024, headers: 100 },
    {
      onHead: ({ headers }) => void (headers['content-type'] === undefined && (ended -= 1)),
      onBody: () => undefined,
      onEnd: () => ((ended += 1), 'go on'),
      onRefusal: ({ reason }) => {
        throw new Error(reason)
      },
    },
  )
  return {
    name,
    microseconds: [],
    measure() {
      const before = process.cpuUsage()
      ended = 0
      for (let n = 0; n < ALONE; n++) parser.push(requests[n % requests.length]!)
      const { user, system } = process.cpuUsage(before)
      if (ended !== ALONE) throw new Error(`${name} found ${ended} requests of ${ALONE}`)
      return (user + system) / ALONE
    },
  }
}

function report(servers: Running[], alone: Alone[]) {
  const cost = (variant: Variant) => median(servers.find((server) => server.variant === variant)!.microseconds)
  const parsing = median(alone[1]!.microseconds).toFixed(1)
  return {
    setup: { connections: CONNECTIONS, 'bytes of a body': BODY.length, 'seconds a sample': COUNT_MS / 1_000 },
    measures: [...servers.map(({ variant, microseconds }) => ({ name: variant, microseconds })), ...alone].map(
      ({ name, microseconds }) => ({
        name,
        unit: 'µs' as const,
        samples: microseconds,
        target: null,
      }),
    ),
    limitedBy:
      `The socket: ${cost('no parsing, no front').toFixed(1)} µs go to reading and writing alone, ${parsing} µs to the ` +
      `strict parser where no head is like the one before; node:http takes ${(cost('node:http') / cost('strict')).toFixed(2)} times as much as the front in all.`,
  }
}
