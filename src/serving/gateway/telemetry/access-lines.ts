import { pino } from 'pino'
import type { Logger } from 'pino'

/** One line of the access log. Null: it is not known, or there is none. */
export interface AccessLine {
  method: string
  /** Without its query, which may hold secrets. */
  target: string
  route: string | null
  endpoint: string | null
  version: string | null
  status: number
  bytesIn: number
  /** Null: it was streamed. */
  bytesOut: number | null
  latencyMs: number
  /** Null: it was refused for want of a key. */
  caller: string | null
  /** Empty for a unix socket. */
  peer: string
  traceId: string | null
  predictionId: string | null
  retries: number
  /** False: it is here because it failed. */
  sampled: boolean
}

/** Where lines of the access log go. */
export interface AccessLines {
  write(isError: boolean, line: AccessLine): void
  /** Said in the log itself, so that nobody takes what is there for all there was. */
  sayDropped(lines: number, why: string): void
  countDropped(): void
  readonly lines: number
  readonly dropped: number
  close(): Promise<void>
}

/** Written once so much has gathered, or a second has passed. */
const BATCH_BYTES = 4_096
const FLUSH_MS = 1_000
/** So much may wait for a disk that is slow; what comes then is dropped, and counted. */
const WAITING_BYTES = 4 * 1024 * 1024
/** A file that could not be opened is tried again after so long; lines until then are dropped, and counted. */
const AGAIN_MS = 1_000

/**
 * Lines of JSON in a file of their own, opened with the first of them. They are written in the background: a request
 * never waits for them, and what was not written when the process is killed is lost.
 * @param process - as in the process' other log
 */
export function openAccessLines(path: string, process: string, againMs = AGAIN_MS): AccessLines {
  return new FileLines(path, process, againMs)
}

class FileLines implements AccessLines {
  readonly #path: string
  readonly #process: string
  readonly #againMs: number
  #file: ReturnType<typeof pino.destination> | null = null
  #log: Logger | null = null
  /** Of the file: lines that came before it was open; null: it is. */
  #early: number | null = null
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #flush: NodeJS.Timeout | null = null
  /** By the disk, since that was said. */
  #unsaid = 0
  lines = 0
  dropped = 0

  constructor(path: string, process: string, againMs: number) {
    this.#path = path
    this.#process = process
    this.#againMs = againMs
  }

  write(isError: boolean, line: AccessLine): void {
    const log = this.#log ?? this.#open()
    if (log === null) return this.#drop(1)
    this.lines += 1
    if (this.#early !== null) this.#early += 1
    if (isError) log.error(line, 'request')
    else log.info(line, 'request')
    this.#soon()
  }

  sayDropped(lines: number, why: string): void {
    const log = this.#log ?? this.#open()
    log?.warn({ lines, why }, 'lines were left out')
    this.#soon()
  }

  countDropped(): void {
    this.dropped += 1
  }

  async close(): Promise<void> {
    if (this.#flush !== null) clearTimeout(this.#flush)
    const file = this.#file
    if (file === null) return
    this.#file = null
    await new Promise<void>((resolve) => {
      file.once('close', resolve)
      file.once('error', () => resolve()) // a disk that takes nothing: what is left is lost
      file.end()
    })
  }

  /** @returns null while it is not tried again */
  #open(): Logger | null {
    if (performance.now() < this.#notBeforeMs) return null
    const file = pino.destination({
      dest: this.#path,
      append: true,
      mkdir: true,
      sync: false,
      minLength: BATCH_BYTES,
      maxLength: WAITING_BYTES,
    })
    this.#early = 0
    let isOpen = false
    file.on('ready', () => {
      isOpen = true
      this.#early = null
    })
    // Without a listener an error would end the process. A full disk costs lines, which are counted.
    file.on('error', () => {
      if (isOpen) return
      this.#giveUpUnopened(file)
      file.emit('close') // it says so only of what was open: else the library writes to it when the process ends
    })
    file.on('drop', () => {
      this.lines -= 1
      if (this.#early !== null) this.#early -= 1
      this.#drop(1)
    })
    this.#file = file
    const timestamp = (): string => `,"at":"${new Date().toISOString()}"`
    this.#log = pino({ base: { process: this.#process }, timestamp }, file)
    return this.#log
  }

  /** It can't be opened, as where no more files may be: what waits for it is lost, and writing to it would throw. */
  #giveUpUnopened(file: ReturnType<typeof pino.destination>): void {
    if (this.#file !== file) return
    this.lines -= this.#early ?? 0
    this.#drop(this.#early ?? 0)
    this.#early = null
    this.#file = null
    this.#log = null
    this.#notBeforeMs = performance.now() + this.#againMs
  }

  /** By the disk. */
  #drop(lines: number): void {
    this.dropped += lines
    this.#unsaid += lines
  }

  /** Only while there are lines: nobody is woken up for none. */
  #soon(): void {
    if (this.#flush !== null) return
    this.#flush = setTimeout(() => {
      this.#flush = null
      const unsaid = this.#unsaid
      if (this.#early !== null) return this.#soon() // it is being opened
      if (this.#file === null) return
      this.#unsaid = 0
      if (unsaid > 0) this.sayDropped(unsaid, 'the disk is too slow, or takes nothing')
      this.#file.flush()
    }, FLUSH_MS)
    this.#flush.unref()
  }
}
