import { Agent, request } from 'node:http'
import { keyFeatures, numberFeatures, type KeyFeature, type NumberFeature } from '../train/late-flight-model.ts'

/** The application's side: asks the gateway over HTTP, as any client would, on connections that are kept open. */

/** The features of one flight, as they were when it left. */
export type FlightFeatures = Record<KeyFeature, string> & Record<NumberFeature, number>

export type Answer =
  | { kind: 'answered'; predictionId: string; version: string; probability: number }
  /** The gateway said no. */
  | { kind: 'failed'; why: string }
  /** The connection ended before an answer. */
  | { kind: 'interrupted'; why: string }

export interface Label {
  id: string
  label: 0 | 1
  /** ISO 8601: when it became known. */
  at: string
}

const TIMEOUT_MS = 15_000

export class GatewayClient {
  private readonly url: string
  private readonly endpoint: string
  private readonly agent: Agent

  /** @param connections - at most so many at once */
  constructor(url: string, endpoint: string, connections: number) {
    this.url = url
    this.endpoint = endpoint
    this.agent = new Agent({ keepAlive: true, maxSockets: connections })
  }

  async predict(flight: FlightFeatures): Promise<Answer> {
    const path = `/v2/models/${this.endpoint}/infer`
    const response = await this.post(path, inferBody(flight)).catch((error: Error) => error)
    if (response instanceof Error) return { kind: 'interrupted', why: response.message }
    if (response.status !== 200) return { kind: 'failed', why: `${response.status}: ${response.body}` }
    return readAnswer(response)
  }

  /** @returns how many labels were accepted: all or none */
  async feedback(labels: Label[]): Promise<number> {
    const response = await this.post('/feedback', JSON.stringify({ labels }))
    if (response.status !== 202) throw new Error(`Labels were refused: ${response.status} ${response.body}`)
    return (JSON.parse(response.body) as { accepted: number }).accepted
  }

  close(): void {
    this.agent.destroy()
  }

  private post(path: string, body: string): Promise<Response> {
    return new Promise((resolve, reject) => {
      const outgoing = request(this.url + path, {
        method: 'POST',
        agent: this.agent,
        timeout: TIMEOUT_MS,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      })
      outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
      outgoing.once('error', reject)
      outgoing.once('response', (incoming) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.once('error', reject)
        incoming.once('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            predictionId: incoming.headers['millrace-prediction-id'],
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        )
      })
      outgoing.end(body)
    })
  }
}

interface Response {
  status: number
  predictionId: string | string[] | undefined
  body: string
}

/** An Open Inference Protocol v2 request with one row. */
export function inferBody(flight: FlightFeatures): string {
  const input = (name: string, datatype: string, value: string | number) => ({
    name,
    datatype,
    shape: [1, 1],
    data: [value],
  })
  return JSON.stringify({
    inputs: [
      ...keyFeatures.map((name) => input(name, 'BYTES', flight[name])),
      ...numberFeatures.map((name) => input(name, 'FP32', flight[name])),
    ],
  })
}

/** A 200 without its id or its number is a fault of the gateway, and counted as one. */
function readAnswer({ predictionId, body }: Response): Answer {
  const answer = JSON.parse(body) as { model_version?: string; outputs?: { name: string; data: number[] }[] }
  const probability = answer.outputs?.find(({ name }) => name === 'late_probability')?.data[0]
  if (typeof predictionId !== 'string' || typeof probability !== 'number' || answer.model_version === undefined) {
    return { kind: 'failed', why: `200 without id, version or late_probability: ${body}` }
  }
  return { kind: 'answered', predictionId, version: answer.model_version, probability }
}
