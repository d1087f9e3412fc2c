import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../kernel/stats/random.ts'
import { answersIn, BODY_LIMIT_BYTES, openFront, RawClient, until } from '../../../testing/front-lab.ts'
import type { FrontLab } from '../../../testing/front-lab.ts'
import { httpCases } from '../../../testing/http-cases.ts'
import { mutatedStream, randomCuts } from '../../../testing/http-fuzz.ts'
import { recordParser } from '../../../testing/parser-record.ts'
import type { Answer } from '../answer.ts'
import type { HttpRequest } from './http-front.ts'
import { openStrictParser } from './strict-parser.ts'

/*
 * The same bytes, cut in the same way, to the front and to node:http with a handler that does the same. The front may
 * refuse more; what it takes, node:http takes too, reads in the same way, and keeps or closes the connection likewise.
 */

const limits = { headMs: 10_000, requestMs: 10_000, idleMs: 10_000 }
let lab: FrontLab
/** By node:http, by the client's port: it drops good answers where something bad is behind them. */
const understood = new Map<number, string[]>()
const oracle = createServer({ requireHostHeader: true, insecureHTTPParser: false }, (request, response) => {
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    const { method = '', url = '' } = request
    const port = request.socket.remotePort as number
    understood.set(port, [...(understood.get(port) ?? []), askedOf(method, pathOf(url), Buffer.concat(parts))])
    response.setHeader('content-length', 0)
    response.end()
  })
})

// Not at once, so that the good requests before are heard to their end.
oracle.on('clientError', (_error, socket) => setTimeout(() => socket.destroy(), 100))

beforeAll(async () => {
  lab = await openFront({ serve: answer }, limits)
  await new Promise<void>((resolve) => oracle.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  oracle.closeAllConnections()
  oracle.close()
  await lab.front.close()
})

/** What was understood, in a header, as HEAD is among the methods. */
function askedOf(method: string, target: string, body: Buffer): string {
  return `${method} ${target} ${createHash('sha256').update(body).digest('hex').slice(0, 12)}`
}

function answer({ method, target, body }: HttpRequest): Answer {
  return { status: 200, headers: ['X-Asked', askedOf(method, target, body)], body: Buffer.alloc(0) }
}

/** node:http leaves absolute targets as they are. */
function pathOf(url: string): string {
  const rest = /^https?:\/\/[^/?]+(.*)$/i.exec(url)?.[1]
  if (rest === undefined) return url
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** For answers that node:http may never give, as it takes longer to refuse. */
const PATIENCE_MS = 1_000

interface Understood {
  /** Method, target and digest of the body of each request that was answered with 200. */
  requests: string[]
  isClosed: boolean
}

/** Says the bytes in parts, and listens until the answers have come that there should be, and a moment longer. */
async function tell(port: number, bytes: Buffer, cuts: number[]): Promise<Understood> {
  const client = new RawClient(port)
  await until(() => !client.socket.connecting, 'a connection')
  const ownPort = client.socket.localPort as number
  understood.delete(ownPort)
  let from = 0
  for (const cut of [...cuts, bytes.length]) {
    client.say(bytes.subarray(from, cut))
    from = cut
    if (cuts.length > 0) await sleep(2)
  }
  const { requests, refusal, place } = recordParser(openStrictParser, bytes)
  const expected = requests.length + (refusal === null ? 0 : 1)
  const isAnswered = (): boolean => answersIn(client.heard).length >= expected && (place !== 'over' || client.isClosed)
  for (let waitedMs = 0; !isAnswered() && !client.isClosed && waitedMs < PATIENCE_MS; waitedMs += 5) await sleep(5)
  await sleep(40)
  const { heard, isClosed } = client
  client.socket.destroy()
  if (port !== lab.port) return { requests: understood.get(ownPort) ?? [], isClosed }
  const answered = answersIn(heard).filter(({ status }) => status === 200)
  return { requests: answered.map(({ head }) => /^x-asked: (.*)$/im.exec(head)?.[1] ?? ''), isClosed }
}

/** @returns null, or in what way the front was looser, or understood something else. node:http stops at an Upgrade. */
function differs(bytes: Buffer, front: Understood, node: Understood): string | null {
  const { place } = recordParser(openStrictParser, bytes)
  const upgrades = /upgrade/i.test(bytes.toString('latin1'))
  const taken = upgrades ? Math.min(front.requests.length, node.requests.length) : front.requests.length
  if (JSON.stringify(front.requests.slice(0, taken)) !== JSON.stringify(node.requests.slice(0, taken))) {
    return `front: ${JSON.stringify(front.requests)}, node:http: ${JSON.stringify(node.requests)}`
  }
  if (node.requests.length > taken && !front.isClosed)
    return `node:http understood more: ${JSON.stringify(node.requests)}`
  if (upgrades || place !== 'between' || front.isClosed || !node.isClosed || node.requests.length > taken) return null
  return `node:http has closed the connection after ${taken} requests, the front has not`
}

describe('the front and node:http', () => {
  it('agree on each case of RFC 9112, or the front is stricter', async () => {
    const differences: string[] = []
    await Promise.all(
      httpCases.map(async ({ says, bytes }) => {
        const sent = Buffer.from(bytes, 'latin1')
        const cuts = randomCuts(sent.length, seededRandom(sent.length))
        const [front, node] = await Promise.all([
          tell(lab.port, sent, cuts),
          tell((oracle.address() as AddressInfo).port, sent, cuts),
        ])
        const why = differs(sent, front, node)
        if (why !== null) differences.push(`${says}: ${why}`)
      }),
    )
    expect(differences).toEqual([])
  })

  it('agree on a thousand streams that were changed at random, in random parts', async () => {
    const random = seededRandom(9112)
    const differences: string[] = []
    let understood = 0
    for (let round = 0; round < 20; round += 1) {
      const streams = Array.from({ length: 50 }, () => mutatedStream(random))
      await Promise.all(
        streams.map(async (bytes) => {
          const cuts = randomCuts(bytes.length, random)
          const [front, node] = await Promise.all([
            tell(lab.port, bytes, cuts),
            tell((oracle.address() as AddressInfo).port, bytes, cuts),
          ])
          understood += front.requests.length
          const why = differs(bytes, front, node)
          if (why !== null)
            differences.push(`${JSON.stringify(bytes.toString('latin1'))} cut at ${cuts.join(' ')}: ${why}`)
        }),
      )
    }
    expect(differences.slice(0, 5)).toEqual([])
    expect(understood).toBeGreaterThan(400)
  })

  it('give back bodies of any size and content, whole or in chunks', async () => {
    const random = seededRandom(7)
    for (const size of [0, 1, 15, 16, 17, 4_095, 65_536, 70_001, BODY_LIMIT_BYTES]) {
      const body = Buffer.from(Uint8Array.from({ length: size }, () => 0x20 + random.integer(0x5f)))
      const head = `POST /x HTTP/1.1\r\nHost: a\r\n`
      const cut = random.integer(size + 1)
      const chunks = [body.subarray(0, cut), body.subarray(cut)].filter(({ length }) => length > 0)
      const framed = [
        Buffer.concat([Buffer.from(`${head}Content-Length: ${size}\r\n\r\n`), body]),
        Buffer.concat([
          Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`),
          ...chunks.flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
          Buffer.from('0\r\n\r\n'),
        ]),
      ]
      for (const bytes of framed) {
        const [front, node] = await Promise.all([
          tell(lab.port, bytes, randomCuts(bytes.length, random)),
          tell((oracle.address() as AddressInfo).port, bytes, []),
        ])
        expect(front.requests).toEqual([askedOf('POST', '/x', body)])
        expect(node.requests).toEqual(front.requests)
      }
    }
  })
})
