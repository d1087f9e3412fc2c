import { Worker } from 'node:worker_threads'
import { messageOf } from '../../../kernel/errors.ts'
import type { Datatype } from '../../../kernel/model/signature.ts'
import type { TensorData } from '../../../kernel/model/tensor.ts'
import { processEntry } from '../../../kernel/runtime/process-entry.ts'
import type { Cancellation } from '../../front/cancellation.ts'
import type { Tell } from '../../front/tell.ts'
import { ModuleWords } from './module-words.ts'

/** What the module is called with: `combine(answers, request)`. */
export interface ModuleTask {
  id: number
  answers: { name: string; weight: number; outputs: Record<string, ModuleTensor> }[]
  request: { id: string | null; parameters: Record<string, unknown>; inputs: Record<string, ModuleTensor> }
}

export interface ModuleTensor {
  datatype: Datatype
  shape: number[]
  data: TensorData
}

export type ModuleReply =
  | { kind: 'ready' }
  | { kind: 'unloadable'; why: string }
  | { kind: 'made'; id: number; outputs: unknown }
  | { kind: 'threw'; id: number; why: string }

/** `outputs` as the module returned them: unchecked. */
export type ModuleEnd = { kind: 'made'; outputs: unknown } | { kind: 'failed'; why: string }

export interface ModuleLimits {
  /** Requests that may wait for the thread. */
  waiting: number
  /** From the start of the thread until the module is loaded. */
  loadMs: number
  /** Between two starts of the thread, where the first did not get to be ready. */
  retryMs: number
  /** Of the thread's heap, and as much again beside it, where buffers and typed arrays are. */
  memoryMb: number
  /** How often it is looked at what is beside the heap, which nothing else limits. */
  lookMs: number
}

export const moduleLimits: ModuleLimits = { waiting: 256, loadMs: 10_000, retryMs: 1_000, memoryMb: 256, lookMs: 100 }

const MB = 1024 * 1024

const CLOSING = 'the gateway is shutting down'

interface Waiting {
  task: ModuleTask
  done: (end: ModuleEnd) => void
}

/**
 * Runs a user's module in a thread of its own, one request at a time, so that its time is that of this request alone:
 *
 *   started ──ready──▶ idle ──task──▶ busy ──reply──▶ idle
 *                                      │ timeoutMs, or the thread ended
 *                                      ▼
 *                        ended; this task has failed, and those that wait get a new thread
 */
export class ModuleCombiner {
  readonly #plan: { path: string; digest: string; timeoutMs: number }
  readonly #limits: ModuleLimits
  readonly #tell: Tell
  readonly #words: ModuleWords
  readonly #waiting: Waiting[] = []
  #thread: Worker | null = null
  #state: 'ended' | 'loading' | 'idle' | 'busy' = 'ended'
  #current: Waiting | null = null
  #timer: NodeJS.Timeout | null = null
  #memoryTimer: NodeJS.Timeout | undefined
  /** Since its memory was looked at last: what a task leaves behind counts, too. */
  #hasWorked = false
  #triedMs = Number.NEGATIVE_INFINITY
  #unloadable = ''
  #nextId = 1
  #closed = false
  #retired = false

  constructor(plan: { path: string; digest: string; timeoutMs: number }, tell: Tell, limits = moduleLimits) {
    this.#plan = plan
    this.#tell = tell
    this.#words = new ModuleWords(plan.path, tell)
    this.#limits = limits
  }

  /** @returns also where the module hangs or throws; never rejects */
  combine(task: Omit<ModuleTask, 'id'>, cancellation: Cancellation): Promise<ModuleEnd> {
    if (this.#closed) return failed(CLOSING)
    if (this.#waiting.length >= this.#limits.waiting) return failed('too many requests wait for the combining module')
    return new Promise((resolve) => {
      const waiting: Waiting = {
        task: { ...task, id: this.#nextId++ },
        done: (end) => {
          cancellation.onCancel(null)
          resolve(end)
        },
      }
      this.#waiting.push(waiting)
      cancellation.onCancel(() => this.#giveUp(waiting))
      this.#next()
    })
  }

  /** Works off what waits, then ends. */
  retire(): void {
    this.#retired = true
    this.#next()
  }

  close(): void {
    this.#closed = true
    this.#end(CLOSING)
    for (const { done } of this.#waiting.splice(0)) done({ kind: 'failed', why: CLOSING })
  }

  /** One that is being worked on goes on to its end: ending the thread would cost those behind it more. */
  #giveUp(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting)
    if (at >= 0) this.#waiting.splice(at, 1)
    waiting.done({ kind: 'failed', why: 'nobody waits for it any more' })
  }

  #next(): void {
    if (this.#waiting.length === 0) {
      if (this.#retired && this.#current === null) this.#stop()
      return
    }
    if (this.#state === 'ended') return this.#start()
    if (this.#state !== 'idle') return
    const waiting = this.#waiting.shift()!
    this.#current = waiting
    this.#state = 'busy'
    const { timeoutMs } = this.#plan
    this.#arm(timeoutMs, `it did not return within ${timeoutMs} ms`)
    try {
      this.#thread!.postMessage(waiting.task)
    } catch (error) {
      this.#end(`its task could not be sent: ${messageOf(error)}`)
    }
  }

  #start(): void {
    if (this.#closed) return
    const nowMs = performance.now()
    if (nowMs - this.#triedMs < this.#limits.retryMs && this.#unloadable !== '') return this.#refuseAll()
    this.#triedMs = nowMs
    this.#state = 'loading'
    try {
      this.#listen(this.#newThread())
    } catch (error) {
      this.#end(`its thread can't be started: ${messageOf(error)}`) // as where no more files may be open
    }
  }

  #newThread(): Worker {
    const { path, digest } = this.#plan
    return new Worker(processEntry('gather-module'), {
      workerData: { path, digest },
      env: {},
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: this.#limits.memoryMb },
    })
  }

  #listen(thread: Worker): void {
    this.#thread = thread
    this.#memoryTimer = setInterval(() => void this.#lookAtMemory(thread), this.#limits.lookMs)
    this.#memoryTimer.unref()
    this.#arm(this.#limits.loadMs, `it was not loaded within ${this.#limits.loadMs} ms`)
    const current = (act: () => void): void => {
      if (this.#thread === thread) act()
    }
    thread.on('message', (reply: ModuleReply) => current(() => this.#hear(reply)))
    thread.on('messageerror', (error) => current(() => this.#end(`its reply can't be read: ${messageOf(error)}`)))
    thread.on('error', (error) => current(() => this.#end(`its thread ended: ${messageOf(error)}`)))
    thread.on('exit', (code) => current(() => this.#end(`its thread ended with ${code}`)))
    for (const stream of [thread.stdout, thread.stderr]) stream.on('data', (part: Buffer) => this.#words.write(part))
  }

  /** The module has the thread to itself, and can send what it likes: only what is waited for counts. */
  #hear(reply: ModuleReply | null): void {
    if (reply === null) return
    if ((reply.kind === 'made' || reply.kind === 'threw') && reply.id !== this.#current?.task.id) return
    switch (reply.kind) {
      case 'ready':
        if (this.#state !== 'loading') return
        this.#unloadable = ''
        this.#state = 'idle'
        this.#disarm()
        return this.#next()
      case 'unloadable':
        if (this.#state !== 'loading') return
        return this.#end(reply.why)
      case 'made':
        return this.#conclude({ kind: 'made', outputs: reply.outputs })
      case 'threw':
        return this.#conclude({ kind: 'failed', why: `it threw: ${reply.why}` })
    }
  }

  #conclude(end: ModuleEnd): void {
    this.#disarm()
    this.#state = 'idle'
    this.#hasWorked = true
    const current = this.#current
    this.#current = null
    current?.done(end)
    this.#next()
  }

  /** A buffer is not in the heap that the thread is limited to: without this it would take the gateway's memory. */
  async #lookAtMemory(thread: Worker): Promise<void> {
    if (this.#state === 'idle' && !this.#hasWorked) return
    this.#hasWorked = false
    let besideBytes: number
    try {
      besideBytes = (await thread.getHeapStatistics()).external_memory
    } catch {
      return // it has ended meanwhile, which its 'exit' tells
    }
    const { memoryMb } = this.#limits
    if (this.#thread !== thread || besideBytes <= memoryMb * MB) return
    this.#end(`it holds ${Math.round(besideBytes / MB)} MB in buffers, more than ${memoryMb} MB`)
  }

  #stop(): void {
    this.#disarm()
    clearInterval(this.#memoryTimer)
    this.#words.end()
    const thread = this.#thread
    this.#thread = null
    this.#state = 'ended'
    void thread?.terminate()
  }

  /** What was being worked on has failed, or, where nothing could be loaded, all that wait. The next task starts anew. */
  #end(why: string): void {
    const wasLoading = this.#state === 'loading'
    this.#stop()
    const current = this.#current
    this.#current = null
    current?.done({ kind: 'failed', why })
    if (this.#closed) return
    this.#tell('error', 'a combining module failed', { path: this.#plan.path, why })
    if (!wasLoading) return this.#next()
    this.#unloadable = why
    this.#refuseAll()
  }

  #refuseAll(): void {
    for (const { done } of this.#waiting.splice(0))
      done({ kind: 'failed', why: `it can't be loaded: ${this.#unloadable}` })
  }

  #arm(ms: number, why: string): void {
    this.#timer = setTimeout(() => this.#end(why), ms)
  }

  #disarm(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

function failed(why: string): Promise<ModuleEnd> {
  return Promise.resolve({ kind: 'failed', why })
}
