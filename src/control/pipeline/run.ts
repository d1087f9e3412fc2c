import type { StepConfig } from '../../config/project.ts'
import { stateMachine } from '../../kernel/state-machine.ts'

export type RunStatus =
  | 'queued' // waits for its turn: one run of a model at a time
  | 'running' // at least one step was looked at
  | 'succeeded' // every step succeeded and a model came out: its version exists
  | 'failed'
  | 'cancelled'

export const runMachine = stateMachine<RunStatus, 'start' | 'succeed' | 'fail' | 'cancel'>('run', {
  queued: { start: 'running', fail: 'failed', cancel: 'cancelled' },
  running: { succeed: 'succeeded', fail: 'failed', cancel: 'cancelled' },
  succeeded: {},
  failed: {},
  cancelled: {},
})

export type StepStatus =
  | 'waiting' // for the steps it needs, a free place, or its next attempt
  | 'running' // has an attempt under way
  | 'succeeded' // recorded, and never run again
  | 'failed' // its attempts are used up
  | 'cancelled'
  | 'skipped' // a step it needs failed

export const stepMachine = stateMachine<StepStatus, 'start' | 'succeed' | 'fail' | 'retry' | 'cancel' | 'skip'>(
  'step',
  {
    waiting: { start: 'running', skip: 'skipped', cancel: 'cancelled' },
    running: { succeed: 'succeeded', fail: 'failed', retry: 'waiting', cancel: 'cancelled' },
    succeeded: {},
    failed: {},
    cancelled: {},
    skipped: {},
  },
)

export type AttemptStatus =
  | 'starting' // recorded; its folder, inputs and environment are being made
  | 'running' // its process has been started
  | 'succeeded'
  | 'failed' // exit status other than 0, or unusable output
  | 'timedOut'
  | 'cancelled'
  | 'interrupted' // Millrace or the machine stopped under it: does not count as a retry

export type AttemptEvent = 'started' | 'succeed' | 'fail' | 'timeOut' | 'cancel' | 'interrupt'

export const attemptMachine = stateMachine<AttemptStatus, AttemptEvent>('attempt', {
  starting: {
    started: 'running',
    succeed: 'succeeded',
    fail: 'failed',
    timeOut: 'timedOut',
    cancel: 'cancelled',
    interrupt: 'interrupted',
  },
  running: { succeed: 'succeeded', fail: 'failed', timeOut: 'timedOut', cancel: 'cancelled', interrupt: 'interrupted' },
  succeeded: {},
  failed: {},
  timedOut: {},
  cancelled: {},
  interrupted: {},
})

export interface Run {
  id: string
  model: string
  revisionId: number
  status: RunStatus
  why: string | null
  triggerKind: string
  triggerWhy: string
  asOfMs: number
  params: Record<string, string | number | boolean>
  seed: number
  codeDigest: string | null
  cancelWhy: string | null
  createdAtMs: number
  startedAtMs: number | null
  endedAtMs: number | null
}

export interface Step {
  runId: string
  name: string
  status: StepStatus
  spec: StepConfig
  why: string | null
  outputDigest: string | null
  modelDigest: string | null
  retryAtMs: number | null
  startedAtMs: number | null
  endedAtMs: number | null
}

export interface Attempt {
  runId: string
  step: string
  number: number
  /** Carried in the process's environment: this is how its whole tree is found again. */
  token: string
  status: AttemptStatus
  why: string | null
  exitCode: number | null
  dir: string
  startedAtMs: number
  endedAtMs: number | null
  inputs: unknown
  environment: unknown
}

/** Where a step runs. `record` is kept as lineage. */
export interface StepPlace {
  env: Record<string, string>
  /** To be linked as `node_modules` into the working copy; null: the project's own. */
  nodeModules: string | null
  record: { kind: string; digest: string | null; reproducible: boolean }
}

/** As they take their turn: what runs already, then in the order of asking, backfills last. @param runs - oldest first */
export function inTurn<R extends Pick<Run, 'status' | 'triggerKind'>>(runs: R[]): R[] {
  const rank = (run: R) => (run.status === 'running' ? 0 : run.triggerKind === 'backfill' ? 2 : 1)
  return runs.toSorted((a, b) => rank(a) - rank(b))
}
