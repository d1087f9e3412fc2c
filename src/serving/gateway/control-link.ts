import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { ControlLinkError } from './errors.ts'

const ANSWER_LIMIT_BYTES = 1024 * 1024
const LINE_LIMIT = 64 * 1024 * 1024

/** How the gateway speaks to the control plane: plain JSON over the control socket, a connection per message. */
export interface ControlAddress {
  socketPath: string
  gatewayId: string
}

/**
 * One message.
 * @throws ControlLinkError when there is no answer within `timeoutMs`, or another than 200
 */
export function postToControl(to: ControlAddress, path: string, body: unknown, timeoutMs: number): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(body))
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void =>
      reject(new ControlLinkError(`POST ${path} to the control plane failed: ${why}.`, cause))
    const asked = request({
      socketPath: to.socketPath,
      path,
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', 'content-length': bytes.length, 'millrace-gateway': to.gatewayId },
    })
    const timer = setTimeout(() => asked.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    asked.on('close', () => clearTimeout(timer))
    asked.on('error', (error) => fail(error.message, error))
    asked.on('response', (response) => {
      readShort(response).then((text) => {
        if (response.statusCode === 200) resolve()
        else fail(`it answered ${response.statusCode}: ${text.slice(0, 200)}`)
      }, fail)
    })
    asked.end(bytes)
  })
}

async function readShort(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of response.setEncoding('utf8')) {
    text += part as string
    if (text.length > ANSWER_LIMIT_BYTES)
      throw new ControlLinkError('The control plane answers a report with more than 1 MB.')
  }
  return text
}

export interface LineStream {
  /** Ends the stream; `done` settles. */
  stop(): void
  /** Settles when the stream has ended, for whatever reason, with the reason. Never rejects. */
  readonly done: Promise<string>
}

/**
 * Follows a stream of lines. Blank ones are signs of life; when nothing comes for `silenceMs`, the other side is taken
 * for dead, since a stopped process keeps its connections open.
 */
export function followLines(
  to: ControlAddress,
  path: string,
  silenceMs: number,
  onLine: (line: string) => void,
): LineStream {
  const asked = request({
    socketPath: to.socketPath,
    path,
    agent: false,
    headers: { 'millrace-gateway': to.gatewayId },
  })
  const done = new Promise<string>((resolve) => {
    asked.setTimeout(silenceMs, () => asked.destroy(new Error(`nothing came for ${silenceMs} ms`)))
    asked.on('error', (error) => resolve(error.message))
    asked.on('close', () => resolve('the stream ended'))
    asked.on('response', (response) => {
      response.on('error', (error) => resolve(error.message))
      if (response.statusCode === 200) return readLines(response, onLine)
      asked.destroy(new Error(`it answered ${response.statusCode}`))
    })
  })
  asked.end()
  return { done, stop: () => asked.destroy() }
}

/** By hand, as `node:readline` raises the stream's errors once more, on itself, where they would end the process. */
function readLines(response: IncomingMessage, onLine: (line: string) => void): void {
  /** Of a line that is not whole: joined once it is, as long ones come in hundreds of parts. */
  let parts: string[] = []
  let letters = 0
  response.setEncoding('utf8').on('data', (part: string) => {
    const [first = '', ...others] = part.split('\n')
    parts.push(first)
    letters += first.length
    if (letters > LINE_LIMIT) response.destroy(new Error(`a line is longer than ${LINE_LIMIT} characters`))
    for (const begun of others) {
      const line = parts.join('')
      parts = [begun]
      letters = begun.length
      if (line !== '') onLine(line)
    }
  })
}
