import { createConnection } from 'node:net'
import type { Socket } from 'node:net'

/** One request every so often, whether or not those before are answered. */
export interface Paced {
  port: number
  path: string
  body: string
  everyMs: number
  requests: number
}

/** Sleeping is as exact as a millisecond: the last of the wait is spent looking at the clock. */
const LOOK_MS = 1.5

process.once('message', (message) => {
  void run(message as Paced).then((latencies) => process.send?.(latencies, () => process.exit(0)))
})

/** @returns from the moment when each was due to the last byte of its answer, in ms */
async function run({ port, path, body, everyMs, requests }: Paced): Promise<number[]> {
  const bytes = Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  const latencies: number[] = []
  const idle: Socket[] = []
  const startMs = performance.now()
  let waiting = 0
  for (let n = 0; n < requests; n++) {
    const dueMs = startMs + n * everyMs
    await until(dueMs)
    const socket = idle.pop() ?? (await connect(port))
    waiting += 1
    socket.removeAllListeners('data')
    socket.on('data', (answer) => {
      if (!isWhole(answer)) throw new Error(`an answer in pieces, or no 200: ${answer.toString('latin1', 0, 200)}`)
      latencies.push(performance.now() - dueMs)
      waiting -= 1
      idle.push(socket)
    })
    socket.write(bytes)
  }
  while (waiting > 0) await turn()
  return latencies
}

async function until(dueMs: number): Promise<void> {
  const leftMs = dueMs - performance.now()
  if (leftMs > LOOK_MS) await new Promise((resolve) => setTimeout(resolve, leftMs - LOOK_MS))
  while (performance.now() < dueMs) await turn()
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function connect(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** Answers here are small enough to come at once. */
function isWhole(answer: Buffer): boolean {
  const headEnd = answer.indexOf('\r\n\r\n')
  const length = /content-length: *(\d+)/i.exec(answer.toString('latin1', 0, Math.max(0, headEnd)))?.[1]
  return answer.toString('latin1', 9, 12) === '200' && headEnd + 4 + Number(length) === answer.length
}
