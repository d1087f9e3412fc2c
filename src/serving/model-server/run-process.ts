import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { messageOf } from '../../kernel/errors.ts'
import { ModelNotServableError, ModelRunError } from '../../kernel/model/errors.ts'
import type { ModelNotServableCode } from '../../kernel/model/errors.ts'
import type { OnnxModel } from '../../kernel/model/onnx-model.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import { processEntry } from '../../kernel/runtime/process-entry.ts'
import { withoutFolders } from '../front/error-text.ts'
import { RunProcessError } from './errors.ts'
import type { FromChild, ToChild } from './run-messages.ts'

/**
 * A heavy model in a process of its own, so that its runs hold up neither health nor other models:
 *
 *   starting ──▶ up ──▶ down (died or hung; starts again after a wait that doubles) ──▶ starting …
 *
 * Its death fails the run that is under way, and only that, with 503; while it is down every run is refused with 503
 * and the reason. It is killed with this process.
 */
export interface IsolatedModel extends OnnxModel {
  /** As clients may read it; null while it is up. */
  readonly downWhy: string | null
  readonly pid: number | null
}

export interface RunProcessLimits {
  /** To load the model. */
  startMs: number
  /** A run that takes longer is taken for hung, and its process is killed. */
  runMs: number
  /** Before the second start in a row; doubles up to `restartMaxMs`. */
  restartMs: number
  restartMaxMs: number
  /** A process that lived so long has recovered: the next wait is the first one again. */
  recoveredMs: number
}

export const runProcessLimits: RunProcessLimits = {
  startMs: 120_000,
  runMs: 300_000,
  restartMs: 100,
  restartMaxMs: 30_000,
  recoveredMs: 60_000,
}

export interface IsolatedOptions {
  features?: string[] | null
  limits?: Partial<RunProcessLimits>
  /** Before it is started again: whether the file is still the right one. */
  beforeRestart?: (model: OnnxModel) => Promise<void>
  onDown?: (why: string) => void
  onUp?: () => void
}

/** @throws ModelNotServableError as openModel does; RunProcessError */
export async function openIsolated(path: string, options: IsolatedOptions = {}): Promise<IsolatedModel> {
  const isolated = new RunProcess(path, options)
  await isolated.open()
  return isolated
}

interface Pending {
  resolve(answer: FromChild): void
  reject(error: Error): void
  timer: NodeJS.Timeout
}

const children = new Set<ChildProcess>()
let isHooked = false

/** A child never outlives this process, however that ends; for SIGKILL the child looks out by itself. */
function killAtExit(child: ChildProcess): void {
  children.add(child)
  child.once('exit', () => children.delete(child))
  if (isHooked) return
  isHooked = true
  process.once('exit', () => {
    for (const one of children) one.kill('SIGKILL')
  })
}

class RunProcess implements IsolatedModel {
  signature: OnnxModel['signature'] = { inputs: [], outputs: [] }
  facts!: OnnxModel['facts']
  downWhy: string | null = 'it is being started'
  readonly #path: string
  readonly #options: IsolatedOptions
  readonly #limits: RunProcessLimits
  #child: ChildProcess | null = null
  #pending: Pending | null = null
  #restart: NodeJS.Timeout | null = null
  #restartMs: number
  #startedMs = 0
  #closed = false

  constructor(path: string, options: IsolatedOptions) {
    this.#path = path
    this.#options = options
    this.#limits = { ...runProcessLimits, ...options.limits }
    this.#restartMs = this.#limits.restartMs
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  async open(): Promise<void> {
    try {
      const opened = await this.#start()
      this.signature = opened.signature
      this.facts = opened.facts
      this.downWhy = null
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async run(inputs: Record<string, Tensor>, outputs?: readonly string[]): Promise<Record<string, Tensor>> {
    if (this.downWhy !== null)
      throw new ProtocolError(503, `The model's process is down, and is started again: ${this.downWhy}`)
    let answer: FromChild
    try {
      answer = await this.#ask({ kind: 'run', inputs, outputs: outputs ?? null }, this.#limits.runMs)
    } catch (error) {
      throw new ProtocolError(503, `The model's process failed at this request: ${whyOf(error)}`, error)
    }
    if (answer.kind === 'ran') return answer.outputs
    throw new ModelRunError(this.#path, new Error(answer.kind === 'failed' ? answer.message : `it said ${answer.kind}`))
  }

  async close(): Promise<void> {
    this.#closed = true
    this.downWhy = 'it was closed'
    if (this.#restart !== null) clearTimeout(this.#restart)
    const child = this.#child
    if (child === null) return
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }

  async #start(): Promise<FromChild & { kind: 'opened' }> {
    const child = fork(processEntry('model-run'), {
      serialization: 'advanced',
      execArgv: [],
      env: { ...process.env, ORT_DISABLE_TELEMETRY: '1' },
    })
    this.#child = child
    this.#startedMs = performance.now()
    killAtExit(child)
    child.on('message', (message: FromChild) => this.#settle(message))
    child.on('error', (error) => this.#gone(child, whyOf(error)))
    child.on('exit', (code, signal) =>
      this.#gone(child, signal === null ? `it ended with ${code}` : `it died of ${signal}`),
    )
    return this.#opened(await this.#openChild())
  }

  async #openChild(): Promise<FromChild> {
    const { features = null } = this.#options
    try {
      return await this.#ask({ kind: 'open', path: this.#path, features }, this.#limits.startMs)
    } catch (error) {
      throw new RunProcessError(this.#path, messageOf(error), error)
    }
  }

  #opened(answer: FromChild): FromChild & { kind: 'opened' } {
    if (answer.kind === 'opened') return answer
    if (answer.kind !== 'refused') throw new RunProcessError(this.#path, `it said ${answer.kind}`)
    if (answer.code === '') throw new RunProcessError(this.#path, answer.message)
    throw new ModelNotServableError({ ...answer, code: answer.code as ModelNotServableCode })
  }

  /** One question at a time: the batcher waits for each run. */
  #ask(message: ToChild, limitMs: number): Promise<FromChild> {
    const child = this.#child
    if (child === null || !child.connected) return Promise.reject(new Error('it has ended'))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#hung(child, limitMs), limitMs)
      this.#pending = { resolve, reject, timer }
      child.send(message, (error) => {
        if (error !== null) this.#fail(messageOf(error))
      })
    })
  }

  #settle(message: FromChild): void {
    const pending = this.#pending
    if (pending === null) return
    this.#pending = null
    clearTimeout(pending.timer)
    pending.resolve(message)
  }

  #fail(why: string): void {
    const pending = this.#pending
    if (pending === null) return
    this.#pending = null
    clearTimeout(pending.timer)
    pending.reject(new Error(why))
  }

  #hung(child: ChildProcess, limitMs: number): void {
    this.#fail(`no answer in ${limitMs} ms`)
    child.kill('SIGKILL')
  }

  #gone(child: ChildProcess, why: string): void {
    if (this.#child !== child) return
    this.#child = null
    const wasUp = this.downWhy === null
    if (!this.#closed) this.downWhy = why
    this.#fail(why)
    if (this.#closed || !wasUp) return
    this.#options.onDown?.(why)
    if (performance.now() - this.#startedMs > this.#limits.recoveredMs) this.#restartMs = this.#limits.restartMs
    this.#restartLater()
  }

  #restartLater(): void {
    this.#restart = setTimeout(() => void this.#startAgain(), this.#restartMs)
    this.#restartMs = Math.min(this.#restartMs * 2, this.#limits.restartMaxMs)
  }

  /** Never rejects: what goes wrong is why it is down, and it is tried again. */
  async #startAgain(): Promise<void> {
    try {
      await this.#options.beforeRestart?.(this)
      if (this.#closed) return
      await this.#start()
      this.downWhy = null
      this.#options.onUp?.()
    } catch (error) {
      if (this.#closed) return
      this.downWhy = whyOf(error)
      this.#child?.kill('SIGKILL')
      this.#child = null
      this.#restartLater()
    }
  }
}

/** As clients may read it. */
function whyOf(error: unknown): string {
  return withoutFolders(messageOf(error))
}
