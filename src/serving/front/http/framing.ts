import { notHttp, Refusal } from './parser.ts'

/** 15 digits are exact in a number. */
const LENGTH_DIGITS_MAX = 15

/**
 * What the fields of one head say on where the request ends and what becomes of its connection, taken down one by one.
 * Whatever two readers could understand in two ways is refused, because that is how requests are smuggled past a proxy.
 * @see RFC 9112, 3.2, 6.3 and 9.3
 */
export class Framing {
  readonly #minor: 0 | 1
  #lengths = 0
  #declaredBytes = 0
  #isChunked = false
  #hosts = 0
  #close = false
  #keepAlive = false
  #expects = false

  /** @param minor - of HTTP/1.x */
  constructor(minor: 0 | 1) {
    this.#minor = minor
  }

  get keepAlive(): boolean {
    return !this.#close && (this.#minor === 1 || this.#keepAlive)
  }

  /** As declared; -1: chunked. */
  get bodyBytes(): number {
    return this.#isChunked ? -1 : this.#declaredBytes
  }

  get expectsContinue(): boolean {
    return this.#expects
  }

  /**
   * Fields that say nothing on the framing cost a look at the length of their name.
   * @param name - in lower case
   */
  take(name: string, value: string): Refusal | null {
    switch (name.length) {
      case 4:
        return name === 'host' ? this.#takeHost(value) : null
      case 6:
        return name === 'expect' ? this.#takeExpectation(value) : null
      case 10:
        return name === 'connection' ? this.#takeConnection(value) : null
      case 14:
        return name === 'content-length' ? this.#takeLength(value) : null
      case 17:
        return name === 'transfer-encoding' ? this.#takeCoding(value) : null
      default:
        return null
    }
  }

  /** What is wrong with all of them together. */
  check(): Refusal | null {
    if (this.#isChunked && this.#lengths > 0) return notHttp('both a Content-Length and a Transfer-Encoding')
    if (this.#isChunked && this.#minor === 0) return notHttp('a Transfer-Encoding in HTTP/1.0')
    // Old clients may leave it out.
    const hasHost = this.#hosts === 1 || (this.#hosts === 0 && this.#minor === 0)
    return hasHost ? null : new Refusal(400, 'The request needs one Host header.')
  }

  #takeHost(value: string): Refusal | null {
    this.#hosts += 1
    return value === '' || isHost(value) ? null : notHttp('the value of the Host header')
  }

  #takeExpectation(value: string): Refusal | null {
    if (this.#minor === 0) return null // RFC 9110, 10.1.1: ignored
    this.#expects = true
    if (value.toLowerCase() === '100-continue') return null
    return new Refusal(417, 'No other expectation than 100-continue can be met.')
  }

  #takeConnection(value: string): Refusal | null {
    for (const word of listOf(value)) {
      if (word === 'close') this.#close = true
      else if (word === 'keep-alive') this.#keepAlive = true
    }
    return null
  }

  /** One length, once: even two equal ones are refused, as the next reader may take another. */
  #takeLength(value: string): Refusal | null {
    this.#lengths += 1
    if (this.#lengths > 1) return notHttp('two Content-Lengths')
    if (!/^\d+$/.test(value)) return notHttp('the Content-Length is no number')
    const digits = value.startsWith('0') ? value.replace(/^0+(?=\d)/, '') : value
    if (digits.length > LENGTH_DIGITS_MAX) return new Refusal(413, 'The Content-Length is beyond all limits.')
    this.#declaredBytes = Number(digits)
    return null
  }

  /** Where chunked isn't last, or not once, nobody can tell where the body ends. */
  #takeCoding(value: string): Refusal | null {
    const codings = listOf(value)
    if (this.#isChunked || codings.includes('')) return notHttp('the Transfer-Encoding')
    this.#isChunked = true
    if (codings.length === 1 && codings[0] === 'chunked') return null
    if (codings.slice(0, -1).includes('chunked')) return notHttp('the Transfer-Encoding')
    return new Refusal(400, `The Transfer-Encoding '${value.slice(0, 60)}' is not understood; chunked alone is.`)
  }
}

/** In these even a tab that RFC 9110 lets stand around a value is refused: other readers stumble over it. */
export function takesNoTab(name: string): boolean {
  return name === 'content-length' || name === 'transfer-encoding' || name === 'connection'
}

/** Members of a comma-separated list in lower case. */
function listOf(value: string): string[] {
  return value.toLowerCase().split(',').map(withoutBlanks)
}

/** Not `trim`, which takes away more than blanks; nor a pattern, which would look at long runs of them again and again. */
function withoutBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && text[start] === ' ') start += 1
  while (end > start && text[end - 1] === ' ') end -= 1
  return text.slice(start, end)
}

/** Host and port as in a URI, without a user. @see RFC 3986, 3.2 */
export function isHost(value: string): boolean {
  return /^(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::\d*)?$/.test(value)
}
