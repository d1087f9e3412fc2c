import { AsyncLocalStorage } from 'node:async_hooks'
import { MillraceError } from './errors.ts'

export interface ControlLoopOptions {
  name: string
  /** The longest time between two looks. */
  everyMs: number
  /** Until the first look, unless woken before. Default 0. */
  firstInMs?: number
  /** One look: observe, decide, act. @returns when to look again in ms, if sooner than `everyMs` */
  run(signal: AbortSignal): Promise<number | void>
  /** Subscribes to whatever should make it look at once; e.g. `(wake) => bus.on('run', wake)`. */
  wakeOn?: readonly ((wake: () => void) => () => void)[]
  /** Told of every look that threw; the loop goes on. */
  onError(error: unknown, facts: { loop: string; failures: number; againInMs: number }): void
}

export interface ControlLoop {
  /** Look at once, or once more if it is looking right now. After a failure it still waits. */
  wake(): void
  /** Aborts the signal and waits for the look under way. @throws LoopStuckError */
  stop(timeoutMs?: number): Promise<void>
}

export const BACKOFF_FIRST_MS = 100
export const BACKOFF_MAX_MS = 10_000
const STOP_TIMEOUT_MS = 10_000

/** Looks at intervals and when woken, never twice at a time; after failures more and more slowly. */
export function controlLoop(options: ControlLoopOptions): ControlLoop {
  const stopping = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | null = null
  let wakeAgain = false
  let failures = 0

  const schedule = (inMs: number) => {
    clearTimeout(timer)
    if (!stopping.signal.aborted) timer = setTimeout(start, inMs)
  }
  const start = () => {
    wakeAgain = false
    looking = look().then((againInMs) => {
      looking = null
      schedule(wakeAgain && failures === 0 ? 0 : againInMs)
    })
  }
  const look = async (): Promise<number> => {
    try {
      const againInMs = await options.run(stopping.signal)
      failures = 0
      return Math.min(options.everyMs, againInMs ?? options.everyMs)
    } catch (error) {
      failures++
      const againInMs = backoffMs(failures)
      if (!stopping.signal.aborted) options.onError(error, { loop: options.name, failures, againInMs })
      return againInMs
    }
  }
  // Whoever wakes may be inside a transaction, whose context must not become the loop's.
  const wake = AsyncLocalStorage.bind(() => {
    wakeAgain = true
    if (looking === null && failures === 0) schedule(0)
  })
  const ends = (options.wakeOn ?? []).map((subscribe) => subscribe(wake))
  schedule(options.firstInMs ?? 0)
  return {
    wake,
    async stop(timeoutMs = STOP_TIMEOUT_MS) {
      for (const end of ends) end()
      stopping.abort()
      clearTimeout(timer)
      await within(looking ?? Promise.resolve(), timeoutMs, options.name)
    },
  }
}

export function backoffMs(failures: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1))
}

export class LoopStuckError extends MillraceError {
  constructor(loop: string, waitedMs: number) {
    super({
      code: 'MR_LOOP_STUCK',
      kind: 'internal',
      message: `The ${loop} loop did not stop within ${waitedMs} ms.`,
      fix: 'What it was doing is redone at the next start; if this comes again, please report it.',
    })
  }
}

async function within(work: Promise<void>, timeoutMs: number, loop: string): Promise<void> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new LoopStuckError(loop, timeoutMs)), timeoutMs)
  try {
    await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
