import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../kernel/clock.ts'
import { sliceRows, stackRows } from '../../kernel/model/tensor.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'

/**
 * Natural batching: requests queue while a run computes, and the next run takes along whatever is there. Nothing waits
 * for company: a lone request runs at once (measured: a 1 ms timer is worse at every load).
 *
 *   submit ─▶ queue ─▶ [setImmediate] take what fits ─▶ stack rows ─▶ one run ─▶ cut rows apart ─▶ answer each
 *
 * If a stacked run fails, each of its requests runs alone, so that one caller's bad values harm nobody else.
 */
export type Tensors = Record<string, Tensor>

/** Computes all outputs that are named, or all there are. Rows of an answer are rows of the inputs, in order. */
export type Run = (inputs: Tensors, outputs: readonly string[] | undefined) => Promise<Tensors>

export interface BatcherLimits {
  /** Rows that one run takes at most; larger requests are cut into several runs. */
  maxBatchRows: number
  /** Requests that wait at most; more are refused with 503. */
  maxQueued: number
  /** A run blocks the process: batches shrink until one takes no longer than this. */
  targetRunMs: number
}

export const batcherLimits: BatcherLimits = { maxBatchRows: 64, maxQueued: 1_024, targetRunMs: 50 }

const TURNS_PER_MS = 8
const MAX_TURNS = 64

export interface Work {
  inputs: Tensors
  rows: number
  /** Null for all. */
  outputs: readonly string[] | null
  /** Monotonic ms; after this the caller no longer wants the answer. */
  deadlineMs: number | null
  /** Set by the caller when its client has left: then it is not run. */
  abandoned?: boolean
}

interface Queued {
  work: Work
  /** Requests with equal keys can be stacked: same inner axes; '' where the model fixes them all. */
  key: string
  resolve: (outputs: Tensors) => void
  reject: (error: unknown) => void
}

export interface Batcher {
  /**
   * @throws ProtocolError 503 when the queue is full or the deadline has passed; whatever `run` throws for these inputs
   */
  submit(work: Work): Promise<Tensors>
  readonly queued: number
}

export interface BatcherSetup {
  run: Run
  /** False for models with a fixed batch, without a batch axis, or whose rows depend on each other. */
  stackable: boolean
  /** True when axes other than the first are dynamic: then only equal ones are stacked. */
  hasDynamicAxes: boolean
  limits: BatcherLimits
  clock: Clock
}

export function createBatcher(setup: BatcherSetup): Batcher {
  return new NaturalBatcher(setup)
}

class NaturalBatcher implements Batcher {
  readonly #setup: BatcherSetup
  #queue: Queued[] = []
  #busy = false
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

  submit(work: Work): Promise<Tensors> {
    if (this.#queue.length >= this.#setup.limits.maxQueued) {
      return Promise.reject(new ProtocolError(503, `The queue is full: ${this.#queue.length} requests wait already`))
    }
    return new Promise((resolve, reject) => {
      const key = this.#setup.hasDynamicAxes ? innerShapes(work.inputs) : ''
      this.#queue.push({ work, key, resolve, reject })
      if (this.#busy) return
      this.#busy = true
      setImmediate(() => void this.#workOff())
    })
  }

  /** Never throws: every outcome goes to the request it belongs to. */
  async #workOff(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch()
      if (batch.length === 1) await this.#runAlone(batch[0]!)
      else if (batch.length > 1) await this.#runStacked(batch)
      await this.#letOthersIn()
    }
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

  #takeBatch(): Queued[] {
    this.#dropUnwanted()
    const batch: Queued[] = []
    const left: Queued[] = []
    let rows = 0
    for (const queued of this.#queue) {
      if (batch.length === 0 || this.#fits(queued, batch[0]!, rows)) {
        batch.push(queued)
        rows += queued.work.rows
      } else left.push(queued)
    }
    this.#queue = left
    return batch
  }

  #fits(queued: Queued, first: Queued, rows: number): boolean {
    const stackable = this.#stackable && queued.work.rows > 0 && first.work.rows > 0
    return stackable && rows + queued.work.rows <= this.#rowCap && queued.key === first.key
  }

  #dropUnwanted(): void {
    const nowMs = this.#setup.clock.monotonicMs()
    const isWanted = ({ work }: Queued): boolean =>
      !work.abandoned && (work.deadlineMs === null || nowMs < work.deadlineMs)
    if (this.#queue.every(isWanted)) return
    for (const queued of this.#queue) {
      if (!isWanted(queued)) queued.reject(new ProtocolError(503, 'The request waited longer than its timeout'))
    }
    this.#queue = this.#queue.filter(isWanted)
  }

  async #runStacked(batch: Queued[]): Promise<void> {
    const rows = batch.reduce((sum, { work }) => sum + work.rows, 0)
    let outputs: Tensors
    try {
      outputs = await this.#timed(rows, stack(batch), unionOfOutputs(batch))
    } catch {
      // Whose values it was shows when each runs alone; that error reaches its caller.
      for (const queued of batch) await this.#runAlone(queued)
      return
    }
    if (!hasRows(outputs, rows)) {
      this.#stackable = false
      for (const queued of batch) await this.#runAlone(queued)
      return
    }
    cutApart(batch, outputs)
  }

  async #runAlone({ work, resolve, reject }: Queued): Promise<void> {
    try {
      const outputs =
        this.#stackable && work.rows > this.#rowCap
          ? await this.#runInParts(work)
          : await this.#timed(work.rows, work.inputs, work.outputs)
      resolve(pick(outputs, work.outputs))
    } catch (error) {
      reject(error)
    }
  }

  /** A request of many rows in several runs, so that others (and health checks) get their turn in between. */
  async #runInParts(work: Work): Promise<Tensors> {
    const parts: Tensors[] = []
    for (let from = 0; from < work.rows;) {
      const to = Math.min(work.rows, from + this.#rowCap)
      const part = await this.#timed(
        to - from,
        mapTensors(work.inputs, (tensor) => sliceRows(tensor, from, to)),
        work.outputs,
      )
      if (!hasRows(part, to - from)) {
        this.#stackable = false
        return this.#setup.run(work.inputs, work.outputs ?? undefined)
      }
      parts.push(part)
      from = to
    }
    return mapTensors(parts[0]!, (_tensor, name) => stackRows(parts.map((part) => part[name]!)))
  }

  async #timed(rows: number, inputs: Tensors, outputs: readonly string[] | null): Promise<Tensors> {
    const { run, clock } = this.#setup
    const startMs = clock.monotonicMs()
    const answer = await run(inputs, outputs ?? undefined)
    this.#adapt(rows, clock.monotonicMs() - startMs)
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
  for (const { work, resolve } of batch) {
    const to = from + work.rows
    const start = from
    resolve(
      pick(
        mapTensors(outputs, (tensor) => sliceRows(tensor, start, to)),
        work.outputs,
      ),
    )
    from = to
  }
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
