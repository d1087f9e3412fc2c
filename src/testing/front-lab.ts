import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { jsonAnswer } from '../serving/front/answer.ts'
import type { Answer } from '../serving/front/answer.ts'
import { openHttpFront } from '../serving/front/http/front.ts'
import type {
  Admission,
  HttpFront,
  HttpFrontLimits,
  HttpHandler,
  HttpRequest,
  ListenOn,
  RequestHead,
} from '../serving/front/http/http-front.ts'

/** An HTTP front on a port of its own, with a handler that a test gives. */
export interface FrontLab {
  front: HttpFront
  port: number
  /** What the front told, as `level what`. */
  told: string[]
}

export interface LabHandler {
  serve?: (request: HttpRequest) => Answer | null | Promise<Answer | null>
  admit?: (head: RequestHead) => Admission
}

export const BODY_LIMIT_BYTES = 1_000_000

/** Answers each request with what it was. */
export function echo({ method, target, headers, body }: HttpRequest): Answer {
  return jsonAnswer(200, { method, target, headers, body: body.toString('latin1') })
}

export async function openFront(
  { serve = echo, admit = () => ({ kind: 'read', limitBytes: BODY_LIMIT_BYTES }) }: LabHandler = {},
  limits: Partial<HttpFrontLimits> = {},
  where: ListenOn = { kind: 'port', host: '127.0.0.1', port: 0 },
): Promise<FrontLab> {
  const told: string[] = []
  const handler: HttpHandler = { serve, admit }
  const front = openHttpFront(handler, limits, (level, what, facts) => {
    told.push(`${level} ${what}${facts === undefined ? '' : ` ${JSON.stringify(facts)}`}`)
  })
  return { front, port: await front.listen(where), told }
}

/** The whole answers in what a client has heard, `100 Continue` left out. */
export function answersIn(heard: string): { status: number; head: string; body: string }[] {
  const answers = []
  for (let at = 0; at < heard.length;) {
    const end = heard.indexOf('\r\n\r\n', at)
    if (end < 0) break
    const head = heard.slice(at, end)
    const status = Number(head.slice(9, 12))
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
    at = end + 4 + length
    if (status !== 100 && at <= heard.length) answers.push({ status, head, body: heard.slice(end + 4, at) })
  }
  return answers
}

/** A client that says what it is told to, and takes down what it hears. */
export class RawClient {
  readonly socket: Socket
  heard = ''
  isClosed = false

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.socket.on('data', (bytes: Buffer) => (this.heard += bytes.toString('latin1')))
    this.socket.on('end', () => this.socket.end())
    this.socket.on('error', () => undefined) // the front may well cut it off
    this.socket.on('close', () => (this.isClosed = true))
  }

  say(text: string | Buffer): this {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)
    return this
  }

  /** The statuses so far, in order. */
  get statuses(): number[] {
    return [...this.heard.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
  }

  /** Waits until so many answers have come, `100 Continue` included. */
  async answers(count: number): Promise<number[]> {
    await until(() => this.statuses.length >= count, `${count} answers instead of ${JSON.stringify(this.heard)}`)
    return this.statuses
  }

  async closed(): Promise<string> {
    await until(() => this.isClosed, `the end of the connection, which said ${JSON.stringify(this.heard)}`)
    return this.heard
  }
}

/** @throws Error after 10 s */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  const untilMs = performance.now() + 10_000
  while (!isSo()) {
    if (performance.now() > untilMs) throw new Error(`waited 10 s for ${what}`)
    await sleep(5)
  }
}

export const get = (path: string, ...fields: string[]): string =>
  `GET ${path} HTTP/1.1\r\n${['Host: a', ...fields].join('\r\n')}\r\n\r\n`

export const post = (path: string, body: string, ...fields: string[]): string =>
  `POST ${path} HTTP/1.1\r\n${['Host: a', `Content-Length: ${body.length}`, ...fields].join('\r\n')}\r\n\r\n${body}`

export const text = (body: string): Answer => ({ status: 200, headers: [], body: Buffer.from(body) })

/** Answers each request with its target, and only when it is told to. */
export interface LateHandler {
  serve(request: HttpRequest): Promise<Answer>
  /** Not answered yet. */
  waiting: HttpRequest[]
  answer(target: string): void
}

export function lateHandler(): LateHandler {
  const waiting: HttpRequest[] = []
  const answers = new Map<HttpRequest, (answer: Answer) => void>()
  return {
    waiting,
    serve(request) {
      waiting.push(request)
      return new Promise((resolve) => answers.set(request, resolve))
    },
    answer(target) {
      const at = waiting.findIndex((request) => request.target === target)
      const [request] = waiting.splice(at, 1)
      answers.get(request as HttpRequest)?.(text(target))
    },
  }
}

/** Opens fronts for one test file, which closes them all after each test. */
export function fronts(): { open: typeof openFront; close: () => Promise<void> } {
  const opened: FrontLab[] = []
  return {
    async open(...how) {
      const lab = await openFront(...how)
      opened.push(lab)
      return lab
    },
    async close() {
      for (const { front } of opened.splice(0)) await front.close()
    },
  }
}
