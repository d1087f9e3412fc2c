import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../kernel/clock.ts'
import { sliceRows, stackRows } from '../../kernel/model/tensor.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import type { Cancellation } from '../front/cancellation.ts'

/**
 * Natural batching: requests queue while a run computes, and the next run takes along whatever is there. Nothing waits
 * for company: a lone request runs at once (measured: a 1 ms timer is worse at every load).
 *
 *   submit ─▶ queue ─▶ [setImmediate] take what fits ─▶ stack rows ─▶ one run ─▶ cut rows apart ─▶ answer each
 *
 * If a stacked run fails, each of its requests runs alone, so that one caller's bad values harm nobody else. A request
 * of more rows than a run may take is computed in parts, and goes to the end of the queue after each.
 */
export type Tensors = Record<string, Tensor>

/** Computes all outputs that are named, or all there are. Rows of an answer are rows of the inputs, in order. */
export type Run = (inputs: Tensors, outputs: readonly string[] | undefined) => Promise<Tensors>

export interface BatcherLimits {
  /** Rows that one run takes at most; larger requests are cut into several runs. */
  maxBatchRows: number
  /** Requests that wait at most; more are refused with 503. */
  maxQueued: number
  /** Batches shrink until a run takes no longer than this: a run blocks the process, and delays whoever comes next. */
  targetRunMs: number
}

export const batcherLimits: BatcherLimits = { maxBatchRows: 64, maxQueued: 1_024, targetRunMs: 50 }

const TURNS_PER_MS = 8
const MAX_TURNS = 64
/** How often, while a run computes elsewhere, those whose time is over are told so. */
const SWEEP_MS = 25

export interface Work {
  inputs: Tensors
  rows: number
  /** Null for all. */
  outputs: readonly string[] | null
  /** Monotonic ms; after this the caller no longer wants the answer. */
  deadlineMs: number | null
  /** Once it is cancelled it is not run any more. */
  cancellation?: Cancellation
  /** When it was queued, and when the run began and ended that computed it (its last part); monotonic ms, set here. */
  queuedMs?: number
  startedMs?: number
  endedMs?: number
}

/** Who is told what comes of it, exactly once that counts: a second word changes nothing. */
export interface Waiter {
  resolve(outputs: Tensors): void
  reject(error: unknown): void
}

interface Queued {
  work: Work
  /** Requests with equal keys can be stacked: same inner axes; '' where the model fixes them all. */
  key: string
  waiter: Waiter
  /** Of a request that is computed in parts: those that are done, and the row that comes next. */
  parts: Tensors[] | null
  nextRow: number
}

export interface Batcher {
  /**
   * @throws ProtocolError 503 when the queue is full, the caller has left or the model was closed, 504 when the deadline
   * has passed; whatever `run` throws for these inputs
   */
  submit(work: Work): Promise<Tensors>
  /** The same without a promise, which costs as much as all else here: the waiter is called at once in turn. */
  enqueue(work: Work, waiter: Waiter): void
  readonly queued: number
  /** Requests that wait or are computed. */
  readonly underWay: number
  /** From now on nothing is taken, and what still waits is refused with 503 and this reason. */
  close(why: string): void
}

export interface BatcherSetup {
  run: Run
  /** False for models with a fixed batch, without a batch axis, or whose rows depend on each other. */
  stackable: boolean
  /** True when axes other than the first are dynamic: then only equal ones are stacked. */
  hasDynamicAxes: boolean
  /** Whether a run blocks this process. */
  blocking: boolean
  limits: BatcherLimits
  clock: Clock
  /** Told of every run. */
  onRun?: (rows: number) => void
  /** What a request is told whose values the run failed on. It may run the model: nobody else does meanwhile. */
  judge?: (error: unknown) => Promise<unknown>
}

export function createBatcher(setup: BatcherSetup): Batcher {
  return new NaturalBatcher(setup)
}

class NaturalBatcher implements Batcher {
  readonly #setup: BatcherSetup
  #queue: Queued[] = []
  #running: readonly Queued[] = []
  #busy = false
  #closed: string | null = null
  #stackable: boolean
  #rowCap: number
  #lastRunMs = 0

  constructor(setup: BatcherSetup) {
    this.#setup = setup
    this.#stackable = setup.stackable
    this.#rowCap = setup.limits.maxBatchRows
  }

  get queued(): number {
    return this.#queue.length
  }

  get underWay(): number {
    return this.#queue.length + this.#running.length
  }

  submit(work: Work): Promise<Tensors> {
    return new Promise((resolve, reject) => this.enqueue(work, { resolve, reject }))
  }

  enqueue(work: Work, waiter: Waiter): void {
    const { limits, clock, hasDynamicAxes } = this.#setup
    const waiting = this.#queue.length
    if (this.#closed !== null) return waiter.reject(new ProtocolError(503, this.#closed))
    if (waiting >= limits.maxQueued)
      return waiter.reject(new ProtocolError(503, `The queue is full: ${waiting} requests wait already`))
    work.queuedMs ??= clock.monotonicMs()
    const key = hasDynamicAxes ? innerShapes(work.inputs) : ''
    this.#queue.push({ work, key, waiter, parts: null, nextRow: 0 })
    if (this.#busy) return
    this.#busy = true
    setImmediate(() => void this.#workOff())
  }

  close(why: string): void {
    this.#closed = why
    for (const { waiter } of this.#queue.splice(0)) waiter.reject(new ProtocolError(503, why))
  }

  /** Never throws: every outcome goes to the request it belongs to. */
  async #workOff(): Promise<void> {
    const sweep = this.#setup.blocking ? null : setInterval(() => this.#sweep(), SWEEP_MS)
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch()
      this.#running = batch
      if (batch.length === 1) await this.#runAlone(batch[0]!)
      else if (batch.length > 1) await this.#runStacked(batch)
      this.#running = NOBODY
      if (this.#setup.blocking) await this.#letOthersIn()
    }
    if (sweep !== null) clearInterval(sweep)
    this.#busy = false
  }

  /**
   * Node accepts one connection per turn of its event loop, so that behind long runs new callers (and health checks on
   * new connections) would queue up outside. Some empty turns after a long run cost about 3% of it.
   */
  async #letOthersIn(): Promise<void> {
    const turns = Math.min(MAX_TURNS, Math.floor(this.#lastRunMs * TURNS_PER_MS))
    for (let turn = 0; turn < turns; turn += 1) await nextTurn()
  }

  /** The first that is wanted, and those behind it that fit; the others keep their order. */
  #takeBatch(): Queued[] {
    const nowMs = this.#setup.clock.monotonicMs()
    const batch: Queued[] = []
    const left: Queued[] = []
    let rows = 0
    for (const queued of this.#queue) {
      if (refused(queued, nowMs)) continue
      if (batch.length === 0 || this.#fits(queued, batch[0]!, rows)) {
        batch.push(queued)
        rows += queued.work.rows
      } else left.push(queued)
    }
    this.#queue = left
    return batch
  }

  #fits({ work, key, parts }: Queued, first: Queued, rows: number): boolean {
    const whole = parts === null && first.parts === null && work.rows > 0 && first.work.rows > 0
    return this.#stackable && whole && rows + work.rows <= this.#rowCap && key === first.key
  }

  /** While a run computes in another process: a deadline that passes is told when it does. */
  #sweep(): void {
    const nowMs = this.#setup.clock.monotonicMs()
    if (this.#queue.some((queued) => isUnwanted(queued, nowMs)))
      this.#queue = this.#queue.filter((queued) => !refused(queued, nowMs))
    for (const queued of this.#running) refused(queued, nowMs) // its run goes on; what comes of it is thrown away
  }

  async #runStacked(batch: Queued[]): Promise<void> {
    const rows = batch.reduce((sum, { work }) => sum + work.rows, 0)
    let outputs: Tensors
    try {
      outputs = await this.#timed(rows, stack(batch), unionOfOutputs(batch), batch)
    } catch (error) {
      // It isn't about values where the model can't run at all.
      if (error instanceof ProtocolError) for (const { waiter } of batch) waiter.reject(error)
      // Whose values it was shows when each runs alone; that error reaches its caller.
      else await this.#runEach(batch)
      return
    }
    if (hasRows(outputs, rows)) return cutApart(batch, outputs)
    this.#stackable = false
    await this.#runEach(batch)
  }

  async #runEach(batch: readonly Queued[]): Promise<void> {
    for (const queued of batch) if (!refused(queued, this.#setup.clock.monotonicMs())) await this.#runAlone(queued)
  }

  async #runAlone(queued: Queued): Promise<void> {
    const { work, waiter } = queued
    try {
      if (this.#stackable && (queued.parts !== null || work.rows > this.#rowCap)) await this.#runPart(queued)
      else waiter.resolve(pick(await this.#timed(work.rows, work.inputs, work.outputs, [queued]), work.outputs))
    } catch (error) {
      const { judge } = this.#setup
      waiter.reject(judge === undefined ? error : await judge(error))
    }
  }

  /** A request of many rows in several runs, so that others (and health checks) get their turn in between. */
  async #runPart(queued: Queued): Promise<void> {
    const { work, waiter, nextRow: from } = queued
    const to = Math.min(work.rows, from + this.#rowCap)
    const inputs = mapTensors(work.inputs, (tensor) => sliceRows(tensor, from, to))
    const part = await this.#timed(to - from, inputs, work.outputs, [queued])
    if (!hasRows(part, to - from)) {
      this.#stackable = false
      return waiter.resolve(pick(await this.#timed(work.rows, work.inputs, work.outputs, [queued]), work.outputs))
    }
    queued.parts ??= []
    const parts = queued.parts
    parts.push(part)
    queued.nextRow = to
    if (to < work.rows && this.#closed === null) this.#queue.push(queued)
    else if (to < work.rows) waiter.reject(new ProtocolError(503, this.#closed!))
    else waiter.resolve(stackParts(parts, work.outputs))
  }

  async #timed(
    rows: number,
    inputs: Tensors,
    outputs: readonly string[] | null,
    batch: readonly Queued[],
  ): Promise<Tensors> {
    const { run, clock, onRun } = this.#setup
    const startedMs = clock.monotonicMs()
    onRun?.(rows)
    const answer = await run(inputs, outputs ?? undefined)
    const endedMs = clock.monotonicMs()
    for (const { work } of batch) {
      work.startedMs = startedMs
      work.endedMs = endedMs
    }
    this.#adapt(rows, endedMs - startedMs)
    return answer
  }

  /** Shrinks at once when a run took too long, and grows back by doubling. */
  #adapt(rows: number, tookMs: number): void {
    this.#lastRunMs = tookMs
    const { maxBatchRows, targetRunMs } = this.#setup.limits
    if (tookMs > targetRunMs && rows > 1)
      this.#rowCap = Math.max(1, Math.floor((Math.min(rows, this.#rowCap) * targetRunMs) / tookMs))
    else if (tookMs < targetRunMs / 4 && rows >= this.#rowCap) this.#rowCap = Math.min(maxBatchRows, this.#rowCap * 2)
  }
}

const NOBODY: readonly Queued[] = []

function isUnwanted({ work }: Queued, nowMs: number): boolean {
  return (work.cancellation?.reason ?? null) !== null || (work.deadlineMs !== null && nowMs >= work.deadlineMs)
}

/** Tells whoever no longer wants it that it will not be computed. A second word to the same request changes nothing. */
function refused(queued: Queued, nowMs: number): boolean {
  if (!isUnwanted(queued, nowMs)) return false
  const late = (queued.work.cancellation?.reason ?? null) === null
  queued.waiter.reject(
    late
      ? new ProtocolError(504, 'The request was not computed within its timeout')
      : new ProtocolError(503, 'The request was taken back before it was computed'),
  )
  return true
}

function innerShapes(inputs: Tensors): string {
  let key = ''
  for (const name in inputs) key += `${name}:${inputs[name]!.shape.slice(1).join('x')};`
  return key
}

function mapTensors(tensors: Tensors, change: (tensor: Tensor, name: string) => Tensor): Tensors {
  const changed: Tensors = {}
  for (const name in tensors) changed[name] = change(tensors[name]!, name)
  return changed
}

function stack(batch: readonly Queued[]): Tensors {
  return mapTensors(batch[0]!.work.inputs, (_tensor, name) => stackRows(batch.map(({ work }) => work.inputs[name]!)))
}

function stackParts(parts: readonly Tensors[], outputs: readonly string[] | null): Tensors {
  return mapTensors(pick(parts[0]!, outputs), (_tensor, name) => stackRows(parts.map((part) => part[name]!)))
}

function unionOfOutputs(batch: readonly Queued[]): string[] | null {
  const names = new Set<string>()
  for (const { work } of batch) {
    if (work.outputs === null) return null
    for (const name of work.outputs) names.add(name)
  }
  return [...names]
}

function cutApart(batch: readonly Queued[], outputs: Tensors): void {
  let from = 0
  for (const { work, waiter } of batch) {
    const to = from + work.rows
    waiter.resolve(rowsOf(outputs, from, to, work.outputs))
    from = to
  }
}

/** In the order asked for. */
function rowsOf(outputs: Tensors, from: number, to: number, names: readonly string[] | null): Tensors {
  const rows: Tensors = {}
  if (names === null) for (const name in outputs) rows[name] = sliceRows(outputs[name]!, from, to)
  else for (const name of names) rows[name] = sliceRows(outputs[name]!, from, to)
  return rows
}

function hasRows(outputs: Tensors, rows: number): boolean {
  for (const name in outputs) if (outputs[name]!.shape[0] !== rows) return false
  return true
}

/** In the order asked for. */
function pick(outputs: Tensors, names: readonly string[] | null): Tensors {
  if (names === null) return outputs
  const picked: Tensors = {}
  for (const name of names) picked[name] = outputs[name]!
  return picked
}
