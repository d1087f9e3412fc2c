import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const TIMEOUT_MS = 15_000

export interface Answered {
  version: string
  /** ms since 1970, finer than Date.now(). */
  atMs: number
}

/** A client of the gateway that asks the same question again and again, on one connection that is kept open. */
export class SteadyClient {
  /** The first answer of each version. */
  readonly firstAnswers = new Map<string, number>()
  answered = 0
  readonly failures: string[] = []
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 })
  private readonly stopping = new AbortController()
  private readonly done: Promise<void>

  /** @param everyMs - pause between an answer and the next request */
  constructor(port: number, endpoint: string, body: string, everyMs: number) {
    this.done = this.askForever(() => ask(this.agent, port, `/v2/models/${endpoint}/infer`, body), everyMs)
  }

  async stop(): Promise<void> {
    this.stopping.abort()
    await this.done
    this.agent.destroy()
  }

  private async askForever(askOnce: () => Promise<Answered>, everyMs: number): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        const { version, atMs } = await askOnce()
        this.answered++
        if (!this.firstAnswers.has(version)) this.firstAnswers.set(version, atMs)
      } catch (error) {
        this.failures.push(String(error))
      }
      await sleep(everyMs)
    }
  }
}

/** @throws Error for anything but a 200 */
export function ask(agent: Agent | undefined, port: number, path: string, body: string): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const options = { host: '127.0.0.1', port, path, method: 'POST', agent, headers, timeout: TIMEOUT_MS }
    const outgoing = request(options, (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.once('error', reject)
      incoming.once('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        if (incoming.statusCode !== 200) return reject(new Error(`${incoming.statusCode}: ${text}`))
        resolve({ version: (JSON.parse(text) as { model_version: string }).model_version, atMs: epochMs() })
      })
    })
    outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}

/** The same clock for all processes of the machine. */
export const epochMs = (): number => performance.timeOrigin + performance.now()
