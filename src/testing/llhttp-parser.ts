import { createRequire } from 'node:module'
import { notHttp, Refusal } from '../serving/front/http/parser.ts'
import type { ParsedHead, Parser, ParserEvents, ParserLimits, ParserPlace } from '../serving/front/http/parser.ts'

/*
 * The front's Parser over llhttp, the parser of Node itself, in the WebAssembly build that undici ships. It is the
 * oracle of the strict parser's tests: what the strict one takes, this one must take, and understand in the same way.
 *
 * llhttp leaves some rules to its user, and this adds them: one Host, HTTP/1.0 and 1.1 only, no transfer coding but
 * chunked, no expectation but 100-continue, the limits of the head.
 */

interface Llhttp {
  memory: { buffer: ArrayBuffer }
  _initialize?(): void
  malloc(bytes: number): number
  llhttp_alloc(type: number): number
  llhttp_free(parser: number): void
  llhttp_execute(parser: number, at: number, bytes: number): number
  llhttp_resume(parser: number): void
  llhttp_resume_after_upgrade(parser: number): void
  llhttp_get_error_pos(parser: number): number
  llhttp_get_error_reason(parser: number): number
  llhttp_get_method(parser: number): number
  llhttp_get_http_major(parser: number): number
  llhttp_get_http_minor(parser: number): number
}

interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object, imports: object) => { exports: unknown }
}

const load = createRequire(import.meta.url)
const constants = load('undici/lib/llhttp/constants.js') as Record<'ERROR' | 'METHODS' | 'TYPE', Record<string, number>>
const OK = constants.ERROR['OK'] as number
const PAUSED = constants.ERROR['PAUSED'] as number
const PAUSED_UPGRADE = constants.ERROR['PAUSED_UPGRADE'] as number
const STOP = -1
const METHODS: string[] = []
for (const [name, number] of Object.entries(constants.METHODS)) METHODS[number] = name
const SERVED = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'])

/** Whose bytes are being parsed: llhttp's callbacks are of the whole module. */
let current: LlhttpParser | null = null

const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly
const llhttp = new Instance(new Module(load('undici/lib/llhttp/llhttp_simd-wasm.js') as Uint8Array), {
  env: {
    wasm_on_message_begin: () => parsing().onBegin(),
    wasm_on_url: (_parser: number, at: number, bytes: number) => parsing().onSpan('url', at - WINDOW, bytes),
    wasm_on_status: () => 0,
    wasm_on_header_field: (_parser: number, at: number, bytes: number) => parsing().onSpan('name', at - WINDOW, bytes),
    wasm_on_header_value: (_parser: number, at: number, bytes: number) => parsing().onSpan('value', at - WINDOW, bytes),
    wasm_on_headers_complete: (_parser: number, _status: number, _upgrade: number, keep: number) =>
      parsing().onHeadersComplete(keep === 1),
    wasm_on_body: (_parser: number, at: number, bytes: number) => parsing().onBody(at - WINDOW, bytes),
    wasm_on_message_complete: () => parsing().onComplete(),
  },
}).exports as Llhttp
llhttp._initialize?.()
const WINDOW_BYTES = 64 * 1024
/** Where in its memory the bytes are put that it reads. */
const WINDOW = llhttp.malloc(WINDOW_BYTES)

function parsing(): LlhttpParser {
  if (current === null) throw new Error('llhttp called back while nothing is parsed')
  return current
}

function whileParsing<T>(parser: LlhttpParser, act: () => T): T {
  current = parser
  try {
    return act()
  } finally {
    current = null
  }
}

export function openLlhttpParser(limits: ParserLimits, events: ParserEvents): Parser {
  return new LlhttpParser(limits, events)
}

type Span = 'url' | 'name' | 'value'

class LlhttpParser implements Parser {
  readonly #limits: ParserLimits
  readonly #events: ParserEvents
  #parser = llhttp.llhttp_alloc(constants.TYPE['REQUEST'] as number)
  #window: Buffer = EMPTY
  #rest: Buffer | null = null
  #held = false
  #isInMessage = false
  #isInBody = false
  #isOver = false
  #keepAlive = true
  /** Why a callback stopped llhttp. */
  #refusal: Refusal | null = null
  /** Begin and end of the target, then of names and values in turn, in the window: read as one string at the end. */
  #spans: number[] = []
  /** Instead of these once a head goes beyond its window. */
  #texts: string[] | null = null
  #lastSpan: Span = 'url'
  #headBytes = 0

  constructor(limits: ParserLimits, events: ParserEvents) {
    this.#limits = limits
    this.#events = events
  }

  get place(): ParserPlace {
    if (this.#isOver) return 'over'
    if (this.#isInBody) return 'body'
    return this.#isInMessage || this.#rest !== null ? 'head' : 'between'
  }

  push(bytes: Buffer): void {
    if (this.#isOver) return
    if (this.#held) this.#rest = this.#rest === null ? bytes : Buffer.concat([this.#rest, bytes])
    else this.#read(bytes)
  }

  resume(): void {
    const rest = this.#rest
    this.#held = false
    this.#rest = null
    if (this.#isOver) return
    llhttp.llhttp_resume(this.#parser)
    if (rest !== null) this.#read(rest)
  }

  close(): void {
    this.#isOver = true
    this.#rest = null
    if (current === this) return // llhttp is in the middle of it
    if (this.#parser !== 0) llhttp.llhttp_free(this.#parser)
    this.#parser = 0
  }

  #read(bytes: Buffer): void {
    let rest = bytes
    while (rest.length > 0 && !this.#isOver && !this.#held) {
      rest = this.#readWindow(rest.subarray(0, WINDOW_BYTES), rest)
    }
    if (this.#isOver) this.close()
    else if (this.#held && rest.length > 0) this.#rest = rest
  }

  /** @returns what is left of `all` */
  #readWindow(window: Buffer, all: Buffer): Buffer {
    new Uint8Array(llhttp.memory.buffer, WINDOW, window.length).set(window)
    this.#window = window
    const result = whileParsing(this, () => llhttp.llhttp_execute(this.#parser, WINDOW, window.length))
    if (this.#refusal !== null) return this.#refuse(this.#refusal)
    if (this.#isOver) return EMPTY
    if (result === OK) {
      this.#spill()
      return all.subarray(window.length)
    }
    if (result !== PAUSED && result !== PAUSED_UPGRADE) return this.#refuse(notHttp(this.#reason()))
    const used = llhttp.llhttp_get_error_pos(this.#parser) - WINDOW
    // A request to upgrade is served as if it did not ask.
    if (result === PAUSED_UPGRADE) llhttp.llhttp_resume_after_upgrade(this.#parser)
    else if (!this.#held) llhttp.llhttp_resume(this.#parser)
    return all.subarray(used)
  }

  #refuse(refusal: Refusal): Buffer {
    this.close()
    this.#events.onRefusal(refusal)
    return EMPTY
  }

  #reason(): string {
    const at = llhttp.llhttp_get_error_reason(this.#parser)
    if (at === 0) return 'llhttp says no more'
    const text = Buffer.from(llhttp.memory.buffer, at, 128)
    return text.toString('latin1', 0, text.indexOf(0))
  }

  // ── callbacks ──

  onBegin(): number {
    this.#isInMessage = true
    this.#spans = []
    this.#texts = null
    this.#lastSpan = 'url'
    this.#headBytes = 0
    return OK
  }

  onSpan(span: Span, at: number, bytes: number): number {
    this.#headBytes += bytes
    if (this.#headBytes > this.#limits.headBytes) {
      return this.#stop(
        new Refusal(431, `The request head is larger than the limit of ${this.#limits.headBytes} bytes.`),
      )
    }
    if (this.#isInBody) return OK // a trailer
    if (this.#texts !== null) this.#addText(span, this.#window.toString('latin1', at, at + bytes))
    else if (span === this.#lastSpan && this.#spans.length > 0) this.#spans[this.#spans.length - 1] = at + bytes
    else this.#spans.push(at, at + bytes)
    this.#lastSpan = span
    return OK
  }

  #addText(span: Span, text: string): void {
    const texts = this.#texts as string[]
    if (span === this.#lastSpan && texts.length > 0) texts[texts.length - 1] += text
    else texts.push(text)
  }

  /** The window ends within a head: what it holds of it is kept as text. */
  #spill(): void {
    if (!this.#isInMessage || this.#isInBody || this.#texts !== null) return
    this.#texts = this.#textsOfSpans()
  }

  #textsOfSpans(): string[] {
    const spans = this.#spans
    if (spans.length === 0) return []
    const first = spans[0] as number
    const text = this.#window.toString('latin1', first, spans.at(-1))
    const texts: string[] = []
    for (let i = 0; i < spans.length; i += 2) {
      texts.push(text.slice((spans[i] as number) - first, (spans[i + 1] as number) - first))
    }
    return texts
  }

  onHeadersComplete(keepAlive: boolean): number {
    const head = this.#headOf(this.#texts ?? this.#textsOfSpans(), keepAlive)
    if (head instanceof Refusal) return this.#stop(head)
    this.#isInBody = true
    this.#headBytes = 0
    this.#keepAlive = head.keepAlive
    this.#events.onHead(head)
    return this.#isOver ? STOP : OK
  }

  onBody(at: number, bytes: number): number {
    if (bytes > 0) this.#events.onBody(this.#window.subarray(at, at + bytes))
    return this.#isOver ? STOP : OK
  }

  onComplete(): number {
    this.#isInMessage = false
    this.#isInBody = false
    if (!this.#keepAlive) this.#isOver = true
    this.#held = this.#events.onEnd() === 'hold'
    return this.#held || this.#isOver ? PAUSED : OK
  }

  #stop(refusal: Refusal): number {
    this.#refusal = refusal
    return STOP
  }

  #headOf([url = '', ...fields]: string[], keepAlive: boolean): ParsedHead | Refusal {
    const minor = llhttp.llhttp_get_http_minor(this.#parser)
    if (llhttp.llhttp_get_http_major(this.#parser) !== 1 || minor > 1) return new Refusal(505, 'not HTTP/1')
    const method = METHODS[llhttp.llhttp_get_method(this.#parser)] ?? ''
    if (!SERVED.has(method)) return new Refusal(501, `The method ${method} is not served here.`)
    if (fields.length > this.#limits.headers * 2) return new Refusal(431, 'The request has too many headers.')
    const headers = joined(fields)
    const why = brokenRule(headers, minor)
    if (why !== null) return why
    const target = originForm(url, method)
    if (target === null) return notHttp('the request target')
    const authority = /^https?:\/\/([^/?]+)/i.exec(url)?.[1]
    if (authority !== undefined) headers['host'] = authority
    return {
      method,
      target,
      headers,
      minor: minor as 0 | 1,
      keepAlive: keepAlive && !/(?:^|,)\s*close\s*(?:,|$)/i.test(headers['connection'] ?? ''),
      bodyBytes: headers['transfer-encoding'] === undefined ? Number(headers['content-length'] ?? 0) : -1,
      expectsContinue: headers['expect'] !== undefined && minor === 1,
    }
  }
}

const EMPTY = Buffer.alloc(0)
/** Told apart from `, ` within one value. */
const AGAIN = ', '

type Fields = Record<string, string | undefined>

function joined(fields: string[]): Fields {
  const headers: Fields = Object.create(null) as Fields
  for (let i = 0; i < fields.length; i += 2) {
    const name = (fields[i] as string).toLowerCase()
    const value = (fields[i + 1] ?? '').replace(/^[ \t]+|[ \t]+$/g, '')
    const before = headers[name]
    headers[name] = before === undefined ? value : before + AGAIN + value
    if (before !== undefined && name === 'host') headers['host'] = 'two, hosts'
  }
  return headers
}

function brokenRule(headers: Fields, minor: number): Refusal | null {
  const { host, expect } = headers
  const coding = headers['transfer-encoding']
  if (host === 'two, hosts' || (host === undefined && minor === 1)) return new Refusal(400, 'one Host')
  if (coding !== undefined && minor === 0) return notHttp('a Transfer-Encoding in HTTP/1.0')
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return new Refusal(501, 'the transfer coding')
  if (expect !== undefined && minor === 1 && !/^100-continue(?:, 100-continue)*$/i.test(expect))
    return new Refusal(417, expect)
  return null
}

function originForm(url: string, method: string): string | null {
  if (url.startsWith('/') || (url === '*' && method === 'OPTIONS')) return url
  const rest = /^https?:\/\/[^/?]+(.*)$/i.exec(url)?.[1]
  if (rest === undefined) return null
  return rest.startsWith('/') ? rest : `/${rest}`
}
