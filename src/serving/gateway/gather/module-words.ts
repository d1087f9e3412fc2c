import type { Tell } from '../../front/tell.ts'

export interface WordLimits {
  /** Lines that are logged in each period; what comes beyond them is counted. */
  lines: number
  periodMs: number
  /** Of a line; the rest of it is cut off. */
  lineBytes: number
}

export const wordLimits: WordLimits = { lines: 50, periodMs: 10_000, lineBytes: 1_000 }

const NEWLINE = 0x0a

/**
 * What a combining module writes, on its way to the gateway's log: a module that writes with every request must not fill
 * it, nor the disk. What was left out is said once a period, with the next line that is logged, or at its end.
 */
export class ModuleWords {
  readonly #path: string
  readonly #tell: Tell
  readonly #limits: WordLimits
  readonly #nowMs: () => number
  #periodEndsMs = Number.NEGATIVE_INFINITY
  #logged = 0
  #leftOut = 0

  constructor(path: string, tell: Tell, limits = wordLimits, nowMs = () => performance.now()) {
    this.#path = path
    this.#tell = tell
    this.#limits = limits
    this.#nowMs = nowMs
  }

  /** @param bytes - as they came: a line that comes in parts is logged in parts */
  write(bytes: Buffer): void {
    let from = 0
    while (from < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, from)
      const to = newline < 0 ? bytes.length : newline
      if (to > from) this.#line(bytes.subarray(from, to))
      from = to + 1
    }
  }

  /** Says what was left out, if anything was. */
  end(): void {
    if (this.#leftOut === 0) return
    const { lines, periodMs } = this.#limits
    const why = `more than ${lines} lines in ${periodMs / 1_000} s`
    this.#tell('warn', 'lines of a combining module were left out', { path: this.#path, lines: this.#leftOut, why })
    this.#leftOut = 0
  }

  #line(line: Buffer): void {
    const nowMs = this.#nowMs()
    if (nowMs >= this.#periodEndsMs) {
      this.end()
      this.#logged = 0
      this.#periodEndsMs = nowMs + this.#limits.periodMs
    }
    if (this.#logged >= this.#limits.lines) {
      this.#leftOut += 1
      return
    }
    const { lineBytes } = this.#limits
    const text = line.toString('utf8', 0, lineBytes).trim()
    if (text === '') return
    this.#logged += 1
    const shown = line.length > lineBytes ? `${text}…` : text
    this.#tell('info', 'a combining module wrote', { path: this.#path, text: shown })
  }
}
