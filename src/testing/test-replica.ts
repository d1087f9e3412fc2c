import { rmSync } from 'node:fs'
import { createServer } from 'node:http'

/**
 * A process that speaks just enough Open Inference Protocol v2 on a unix socket to stand for a replica that may be
 * killed: `node test-replica.ts SOCKET [DELAY_MS]`. Prints `ready` once it listens. Echoes the request's id.
 */
const [socketPath = '', delayText = '0'] = process.argv.slice(2)
const delayMs = Number(delayText)

const server = createServer((request, response) => {
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    if (request.method === 'GET') return void response.end('{"ready":true}')
    const id = idOf(Buffer.concat(parts).toString())
    if (id === null) return void response.writeHead(400).end('{"error":"The request is not JSON."}')
    const outputs = [{ name: 'probability', datatype: 'FP32', shape: [1], data: [0.5] }]
    const body = JSON.stringify({ model_name: 'late-flight', model_version: '1', id, outputs })
    const answer = (): void => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
      response.end(body)
    }
    if (delayMs === 0) answer()
    else setTimeout(answer, delayMs)
  })
})
rmSync(socketPath, { force: true })
server.listen(socketPath, () => process.stdout.write('ready\n'))

/** undefined where the request has none, null where it is no JSON. */
function idOf(text: string): string | undefined | null {
  try {
    return (JSON.parse(text) as { id?: string }).id
  } catch {
    return null // answered with 400
  }
}
