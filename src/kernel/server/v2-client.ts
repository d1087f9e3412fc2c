import { Agent, request } from 'node:http'

/** Larger answers are given up. */
const ANSWER_MAX_BYTES = 256 * 1024 * 1024

export interface V2Answer {
  status: number
  /** `Inference-Header-Content-Length`; null: the body is all JSON. */
  jsonBytes: number | null
  body: Buffer
}

/** One connection to a server on this machine, kept open; one request at a time. */
export interface V2Client {
  /** @throws when there is no whole answer within `timeoutMs` */
  get(path: string, timeoutMs: number): Promise<V2Answer>
  post(path: string, body: Uint8Array, jsonBytes: number | null, timeoutMs: number): Promise<V2Answer>
  close(): void
}

export function v2Client(port: number): V2Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const call = (method: string, path: string, timeoutMs: number, body?: Uint8Array, jsonBytes: number | null = null) =>
    exchange({ agent, host: '127.0.0.1', port, method, path, headers: headersOf(body, jsonBytes) }, body, timeoutMs)
  return {
    get: (path, timeoutMs) => call('GET', path, timeoutMs),
    post: (path, body, jsonBytes, timeoutMs) => call('POST', path, timeoutMs, body, jsonBytes),
    close: () => agent.destroy(),
  }
}

function headersOf(body: Uint8Array | undefined, jsonBytes: number | null): Record<string, string | number> {
  if (body === undefined) return {}
  const length = { 'content-length': body.length }
  if (jsonBytes === null) return { ...length, 'content-type': 'application/json' }
  return { ...length, 'content-type': 'application/octet-stream', 'inference-header-content-length': jsonBytes }
}

function exchange(
  options: Parameters<typeof request>[1] & object,
  body: Uint8Array | undefined,
  timeoutMs: number,
): Promise<V2Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(options, (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        chunks.push(chunk)
        if (bytes > ANSWER_MAX_BYTES) sent.destroy(new Error(`the answer has more than ${ANSWER_MAX_BYTES} bytes`))
      })
      response.on('error', reject)
      response.on('end', () => {
        const json = response.headers['inference-header-content-length']
        const jsonBytes = typeof json === 'string' && /^\d+$/.test(json) ? Number(json) : null
        resolve({ status: response.statusCode ?? 0, jsonBytes, body: Buffer.concat(chunks) })
      })
    })
    const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    sent.on('close', () => clearTimeout(timer))
    sent.on('error', reject)
    sent.end(body)
  })
}
