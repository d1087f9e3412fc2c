import { createConnection } from 'node:net'
import { quantile } from './figure.ts'
import type { LoadOrder, LoadResult } from './load.ts'

/**
 * The load generator's process. It speaks HTTP/1.1 over plain sockets and looks at no more of an answer than its status
 * and length, since what it costs itself is taken from the machine that is measured.
 */
process.once('message', (message) => {
  void run(message as LoadOrder).then((result) => {
    process.send?.(result, () => process.exit(0))
  })
})

async function run(order: LoadOrder): Promise<LoadResult> {
  const { port, path, body, connections, warmMs, countMs } = order
  const request = Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  const countFromMs = performance.now() + warmMs
  const endMs = countFromMs + countMs
  const latencies: number[] = []
  let failed = 0
  const onAnswer = (sentMs: number, status: number) => {
    if (sentMs < countFromMs) return
    latencies.push(performance.now() - sentMs)
    if (status !== 200) failed++
  }
  await Promise.all(Array.from({ length: connections }, () => connection({ port, request, endMs, onAnswer })))
  return {
    requestsPerSecond: latencies.length / (countMs / 1_000),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    failed,
  }
}

interface Conversation {
  port: number
  request: Buffer
  /** No request is sent after it. */
  endMs: number
  onAnswer: (sentMs: number, status: number) => void
}

/** One request after the other on one socket, until the end. @throws when the socket breaks */
function connection({ port, request, endMs, onAnswer }: Conversation): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1')
    let sentMs = 0
    let received = Buffer.alloc(0)
    const send = () => {
      sentMs = performance.now()
      socket.write(request)
    }
    socket.setNoDelay(true)
    socket.once('connect', send)
    socket.once('error', reject)
    socket.on('data', (chunk) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      const answer = wholeAnswer(received)
      if (answer === null) return
      received = received.subarray(answer.length)
      onAnswer(sentMs, answer.status)
      if (performance.now() < endMs) send()
      else socket.end(resolve)
    })
  })
}

/** Null while a part of it is missing. @throws Error for an answer without a length */
function wholeAnswer(bytes: Buffer): { status: number; length: number } | null {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const head = bytes.toString('latin1', 0, headEnd)
  const length = /^content-length: *(\d+)/im.exec(head)?.[1]
  if (length === undefined) throw new Error(`an answer has no content-length: ${head}`)
  const end = headEnd + 4 + Number(length)
  return bytes.length < end ? null : { status: Number(head.slice(9, 12)), length: end }
}
