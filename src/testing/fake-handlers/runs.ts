import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { LogChunk, RunView } from '../../surface/api/run-schemas.ts'
import { ConflictError, NotFoundError, requireModel, T0, type FakeWorld } from './world.ts'

/** A started run succeeds step by step, each time it is looked at. */
export function fakeRunHandlers(world: FakeWorld): HandlerGroup<'runs'> {
  let looks = 0
  const run = (id: string): RunView => {
    if (id !== 'run-2' && id !== 'run-3') throw new NotFoundError(`run ${id}`)
    return id === 'run-2' ? fakeRun('run-2', 9, 'released') : fakeRun('run-3', looks++, world.outcome)
  }
  return {
    list: () => [fakeRun('run-2', 9, 'released')],
    get: ({ id }) => run(id),
    start: (input) => {
      requireModel(input.model)
      world.did('runs.start', input)
      looks = 0
      return fakeRun('run-3', 0, world.outcome)
    },
    cancel: (input) => {
      world.did('runs.cancel', input)
      throw new ConflictError(`Run ${input.id} has ended.`)
    },
    logs: async function* ({ id }): AsyncGenerator<LogChunk> {
      run(id)
      yield { step: 'train', attempt: 1, stream: 'stdout', offset: 0, text: 'reading 30' }
      yield {
        step: 'train',
        attempt: 1,
        stream: 'stdout',
        offset: 10,
        text: '000 rows\nmillrace:progress 0.5 "half"\n',
      }
      yield { step: 'train', attempt: 1, stream: 'stderr', offset: 0, text: 'a warning\n' }
    },
  }
}

function fakeRun(id: string, look: number, outcome: FakeWorld['outcome']): RunView {
  const done = look >= 3
  const failed = done && outcome === 'run-failed'
  const settled = look >= 4
  const version = done && !failed ? 'late-flight@2' : null
  const verdict = {
    released: 'passed',
    spare: 'passed',
    'gate-failed': 'failed',
    'run-failed': null,
    'awaiting-approval': 'inconclusive',
  } as const
  const released = settled && outcome === 'released'
  return {
    id,
    model: 'late-flight',
    status: failed ? 'failed' : done ? 'succeeded' : look === 0 ? 'queued' : 'running',
    why: failed ? "step 'train' failed: exit status 1" : null,
    cause: 'manual: by hand',
    revision: 1,
    cancelWhy: null,
    asOfMs: T0,
    createdAtMs: T0,
    startedAtMs: T0,
    endedAtMs: done ? T0 + 3_000 : null,
    progress: done ? 1 : look / 3,
    outcome: {
      version,
      status: settled ? verdict[outcome] : version === null ? null : 'evaluating',
      why: settled ? `because ${outcome}` : null,
      release: released ? 'release-1' : null,
      releaseStatus: released ? 'released' : null,
      settled: failed || settled,
    },
    params: { depth: 5 },
    seed: 1,
    codeDigest: null,
    steps: [
      {
        name: 'train',
        status: failed ? 'failed' : done ? 'succeeded' : 'running',
        why: failed ? 'exit status 1' : null,
        needs: [],
        progress: { fraction: done ? 1 : look / 3, text: 'rounds' },
        startedAtMs: T0,
        endedAtMs: done ? T0 + 3_000 : null,
        retryAtMs: null,
        attempts: [
          {
            attempt: 1,
            status: failed ? 'failed' : done ? 'succeeded' : 'running',
            why: null,
            exitCode: done ? (failed ? 1 : 0) : null,
            startedAtMs: T0,
            endedAtMs: done ? T0 + 3_000 : null,
          },
        ],
      },
    ],
  }
}
