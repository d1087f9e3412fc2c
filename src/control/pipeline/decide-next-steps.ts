import type { Attempt, Run, Step } from './run.ts'

/** What is seen of an attempt's process. */
export type Observed =
  | { kind: 'preparing' } // this control plane is making its folder, inputs and environment
  | { kind: 'ending' } // this control plane is stopping it or taking its output
  | { kind: 'unstarted' } // recorded by a control plane that died before starting it
  | { kind: 'running' }
  | { kind: 'exited'; code: number }
  | { kind: 'vanished' } // no process and no exit record: killed from outside, or the machine stopped
  | { kind: 'unusable'; why: string } // could not be prepared, or ended well with output that can't be used

export type StepAct =
  | { kind: 'startRun' }
  | { kind: 'startAttempt'; step: string; number: number }
  | { kind: 'stopAttempt'; attempt: Attempt; outcome: 'timeOut' | 'cancel'; why: string }
  | {
      kind: 'endAttempt'
      attempt: Attempt
      outcome: 'fail' | 'interrupt'
      exitCode: number | null
      why: string
      retryAtMs: number | null
    }
  | { kind: 'collect'; attempt: Attempt } // it exited with 0: take its output, then record success
  | { kind: 'skipStep'; step: string; why: string }
  | { kind: 'cancelStep'; step: string; why: string }
  | { kind: 'endRun'; event: 'succeed' | 'fail' | 'cancel'; why: string }

export interface RunView {
  run: Run
  steps: Step[]
  /** The newest attempt of each running step, with what is seen of it, and for how long it has been under way. */
  attempts: { attempt: Attempt; seen: Observed; ranMs: number }[]
  /** What is left of the pause before a step's next attempt, by step; none where it may start at once. */
  pauses: Record<string, number>
  /** Attempts so far, by step: how many were made, and how many of these count as failures. */
  made: Record<string, { total: number; failures: number }>
  /** Why nothing may be started now (disk low), or null. */
  holdBack: string | null
  /** How many attempts may be started now; `max` of them may be under way over all runs. */
  places: { free: number; max: number }
}

export const BACKOFF_MAX_MS = 300_000
/** A process that vanishes this often without a failure of its own is given up. */
const INTERRUPTIONS_MAX = 20
/** The first interruption is made up for at once, later ones wait: 1 s, 2 s, 4 s, … */
const INTERRUPTION_BACKOFF_MAX_MS = 10_000

/**
 * What to do now, in this order. An empty list means: wait for a process or for `nextLookInMs`.
 * @param nowMs - real time, by which the next attempt is recorded; what is over is told by `ranMs` and `pauses`
 */
export function decideNextSteps(view: RunView, nowMs: number): StepAct[] {
  const { run, steps } = view
  if (run.status === 'queued') return [run.cancelWhy === null ? { kind: 'startRun' } : endRun('cancel', run.cancelWhy)]
  if (run.cancelWhy !== null) return cancelAll(view, run.cancelWhy)
  const ended = view.attempts.flatMap((entry) => decideAttempt(view, entry, nowMs))
  if (ended.length > 0) return ended
  return [...startOrSkip(view), ...decideEnd(steps)]
}

/** Until something changes without an event: the end of a pause, or a time-out. Null: nothing does. */
export function nextLookInMs(view: RunView): number | null {
  const timed = view.attempts.filter(({ seen }) => seen.kind === 'preparing' || seen.kind === 'running')
  const timeOuts = timed.map(({ attempt, ranMs }) => specOf(view, attempt).timeoutMs - ranMs)
  const all = [...Object.values(view.pauses), ...timeOuts]
  return all.length === 0 ? null : Math.max(0, Math.min(...all))
}

function decideAttempt(view: RunView, { attempt, seen, ranMs }: RunView['attempts'][number], nowMs: number): StepAct[] {
  const spec = specOf(view, attempt)
  switch (seen.kind) {
    case 'ending':
      return []
    case 'preparing':
    case 'running':
      if (ranMs <= spec.timeoutMs) return []
      return [
        {
          kind: 'stopAttempt',
          attempt,
          outcome: 'timeOut',
          why: `ran longer than its time-out of ${seconds(spec.timeoutMs)}`,
        },
      ]
    case 'exited':
      if (seen.code === 0) return [{ kind: 'collect', attempt }]
      return [failed(view, attempt, seen.code, exitReason(seen.code), nowMs)]
    case 'unusable':
      return [failed(view, attempt, null, seen.why, nowMs)]
    case 'unstarted':
      return [interrupted(view, attempt, 'Millrace stopped before it was started', nowMs)]
    case 'vanished':
      return [interrupted(view, attempt, 'its process is gone without an exit status', nowMs)]
  }
}

/** Whether a failed attempt is tried again, and when. Exported for the act that follows a time-out. */
export function retryAt(view: Pick<RunView, 'made' | 'steps'>, step: string, nowMs: number): number | null {
  const spec = view.steps.find((s) => s.name === step)!.spec
  const failures = (view.made[step]?.failures ?? 0) + 1
  if (failures > spec.retries) return null
  return nowMs + Math.min(spec.backoffMs * 2 ** (failures - 1), BACKOFF_MAX_MS)
}

function failed(view: RunView, attempt: Attempt, exitCode: number | null, why: string, nowMs: number): StepAct {
  return { kind: 'endAttempt', attempt, outcome: 'fail', exitCode, why, retryAtMs: retryAt(view, attempt.step, nowMs) }
}

function interrupted(view: RunView, attempt: Attempt, why: string, nowMs: number): StepAct {
  const made = view.made[attempt.step] ?? { total: 0, failures: 0 }
  const interruptions = made.total - made.failures
  const waitMs = interruptions <= 1 ? 0 : Math.min(1_000 * 2 ** (interruptions - 2), INTERRUPTION_BACKOFF_MAX_MS)
  const retryAtMs = interruptions > INTERRUPTIONS_MAX ? null : nowMs + waitMs
  return { kind: 'endAttempt', attempt, outcome: 'interrupt', exitCode: null, why, retryAtMs }
}

/** Why a step that could start does not, in words for people; null where none is held back. */
export function heldBack(view: RunView): string | null {
  const ready = readyToStart(view).length
  if (ready === 0) return null
  if (view.holdBack !== null) return view.holdBack
  return ready <= view.places.free ? null : `all ${view.places.max} places for running steps are taken`
}

function startOrSkip(view: RunView): StepAct[] {
  const status = statuses(view)
  const skips = view.steps.flatMap((step): StepAct[] => {
    const bad = step.spec.needs.find((n) => ['failed', 'skipped', 'cancelled'].includes(status.get(n)!))
    if (step.status !== 'waiting' || bad === undefined) return []
    return [{ kind: 'skipStep', step: step.name, why: `step '${bad}' ${status.get(bad)}` }]
  })
  if (view.holdBack !== null) return skips
  const starts = readyToStart(view).slice(0, Math.max(0, view.places.free))
  return [
    ...skips,
    ...starts.map((step): StepAct => ({
      kind: 'startAttempt',
      step: step.name,
      number: (view.made[step.name]?.total ?? 0) + 1,
    })),
  ]
}

function readyToStart(view: RunView): Step[] {
  if (view.run.status !== 'running' || view.run.cancelWhy !== null) return []
  const status = statuses(view)
  return view.steps.filter(
    (step) =>
      step.status === 'waiting' &&
      step.spec.needs.every((n) => status.get(n) === 'succeeded') &&
      view.pauses[step.name] === undefined,
  )
}

const statuses = (view: RunView) => new Map(view.steps.map((s) => [s.name, s.status]))

function decideEnd(steps: Step[]): StepAct[] {
  if (steps.some((s) => s.status === 'waiting' || s.status === 'running')) return []
  const failedStep = steps.find((s) => s.status === 'failed')
  if (failedStep) return [endRun('fail', `step '${failedStep.name}' failed: ${failedStep.why ?? 'no reason recorded'}`)]
  const models = steps.filter((s) => s.modelDigest !== null)
  if (models.length === 0)
    return [endRun('fail', 'every step ended well, but none wrote model.onnx into MILLRACE_MODEL_DIR')]
  if (models.length > 1)
    return [endRun('fail', `more than one step wrote a model: ${models.map((s) => s.name).join(', ')}; one must`)]
  return [endRun('succeed', 'all steps succeeded')]
}

function cancelAll(view: RunView, why: string): StepAct[] {
  if (view.attempts.length > 0) {
    const open = view.attempts.filter(({ seen }) => seen.kind !== 'ending')
    return open.map(({ attempt }): StepAct => ({ kind: 'stopAttempt', attempt, outcome: 'cancel', why }))
  }
  const waiting = view.steps.filter((s) => s.status === 'waiting')
  return [...waiting.map((s): StepAct => ({ kind: 'cancelStep', step: s.name, why })), endRun('cancel', why)]
}

const endRun = (event: 'succeed' | 'fail' | 'cancel', why: string): StepAct => ({ kind: 'endRun', event, why })

const specOf = (view: RunView, attempt: Attempt) => view.steps.find((s) => s.name === attempt.step)!.spec

const seconds = (ms: number) => (ms >= 1_000 ? `${Math.round(ms / 1_000)} s` : `${ms} ms`)

const signals: Record<number, string> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  6: 'SIGABRT',
  9: 'SIGKILL, often the kernel for want of memory',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  15: 'SIGTERM',
}

function exitReason(code: number): string {
  if (code === 127) return 'exit status 127: the command was not found'
  if (code === 126) return 'exit status 126: the command is not executable'
  if (code > 128)
    return `killed by signal ${code - 128}${signals[code - 128] === undefined ? '' : ` (${signals[code - 128]})`}`
  return `exit status ${code}`
}
