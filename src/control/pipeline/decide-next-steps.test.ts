import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { attemptOf, runOf, stepOf } from '../../testing/control-builders.ts'
import { decideNextSteps, heldBack, nextLookInMs, type Observed, type RunView } from './decide-next-steps.ts'
import { stepMachine, type Step } from './run.ts'

describe('the beginning of a run', () => {
  it('starts a queued run', () => {
    expect(decide({ run: runOf({ status: 'queued' }) })).toEqual([{ kind: 'startRun' }])
  })

  it('ends a queued run that was cancelled without ever starting it', () => {
    const run = runOf({ status: 'queued', cancelWhy: 'ann: wrong data' })
    expect(decide({ run })).toEqual([{ kind: 'endRun', event: 'cancel', why: 'ann: wrong data' }])
  })

  it('starts every step that needs nothing, and only those', () => {
    const steps = [stepOf({ name: 'a' }), stepOf({ name: 'b' }), stepOf({ name: 'c', spec: { needs: ['a', 'b'] } })]
    expect(decide({ steps })).toEqual([
      { kind: 'startAttempt', step: 'a', number: 1 },
      { kind: 'startAttempt', step: 'b', number: 1 },
    ])
  })

  it('starts a step once all that it needs have succeeded', () => {
    const steps = [stepOf({ name: 'a', status: 'succeeded' }), stepOf({ name: 'b', spec: { needs: ['a'] } })]
    expect(decide({ steps })).toEqual([{ kind: 'startAttempt', step: 'b', number: 1 }])
  })
})

describe('what is held back', () => {
  it('starts nothing while the disk is low, and says why', () => {
    const view = viewOf({ holdBack: 'free disk space is below the watermark' })
    expect(decideNextSteps(view, 0)).toEqual([])
    expect(heldBack(view)).toBe('free disk space is below the watermark')
  })

  it('starts no more steps than there are free places, and says so of the rest', () => {
    const view = viewOf({ steps: ['a', 'b', 'c'].map((name) => stepOf({ name })), places: { free: 2, max: 4 } })
    expect(decideNextSteps(view, 0).map((act) => 'step' in act && act.step)).toEqual(['a', 'b'])
    expect(heldBack(view)).toBe('all 4 places for running steps are taken')
  })

  it('starts nothing where more attempts run than there are places, as after a restart with fewer', () => {
    expect(decide({ places: { free: -3, max: 2 } })).toEqual([])
  })

  it('says nothing of a run that waits for its own steps', () => {
    expect(heldBack(viewOf({ steps: [stepOf({ status: 'running' })], holdBack: 'disk' }))).toBeNull()
  })

  it('skips what can never start, also while the disk is low', () => {
    const steps = [stepOf({ name: 'a', status: 'failed' }), stepOf({ name: 'b', spec: { needs: ['a'] } })]
    expect(decide({ steps, holdBack: 'disk' })).toEqual([{ kind: 'skipStep', step: 'b', why: "step 'a' failed" }])
  })
})

describe('an attempt that has ended', () => {
  it('is collected when it ended with 0', () => {
    expect(decideOn({ kind: 'exited', code: 0 })).toMatchObject([{ kind: 'collect' }])
  })

  it.each([
    [1, 'exit status 1'],
    [126, 'exit status 126: the command is not executable'],
    [127, 'exit status 127: the command was not found'],
    [137, 'killed by signal 9 (SIGKILL, often the kernel for want of memory)'],
    [139, 'killed by signal 11 (SIGSEGV)'],
    [170, 'killed by signal 42'],
  ])('has failed with exit status %d: %s', (code, why) => {
    expect(decideOn({ kind: 'exited', code })).toMatchObject([
      { outcome: 'fail', exitCode: code, why, retryAtMs: null },
    ])
  })

  it('is retried with waits that double up to five minutes, as often as declared', () => {
    const waits = Array.from({ length: 12 }, (_, failures) => {
      const [act] = decideOn({ kind: 'exited', code: 1 }, { retries: 11, backoffMs: 1_000 }, { failures })
      return act?.kind === 'endAttempt' ? act.retryAtMs : undefined
    })
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, null].map((s) => s && s * 1_000))
  })

  it('is not started again before its wait is over', () => {
    const made = { train: { total: 1, failures: 1 } }
    expect(decide({ pauses: { train: 1 }, made })).toEqual([])
    expect(decide({ made })).toEqual([{ kind: 'startAttempt', step: 'train', number: 2 }])
  })

  it('has failed when it could not be prepared or its output is unusable, with that reason', () => {
    expect(decideOn({ kind: 'unusable', why: 'no such input' })).toMatchObject([
      { outcome: 'fail', why: 'no such input' },
    ])
  })
})

describe('an interrupted attempt', () => {
  it.each<Observed>([{ kind: 'vanished' }, { kind: 'unstarted' }])('does not count as a retry: $kind', (seen) => {
    expect(decideOn(seen, { retries: 0 })).toMatchObject([{ outcome: 'interrupt', retryAtMs: 0 }])
  })

  it('is made up for more and more slowly, and given up after twenty', () => {
    const retries = Array.from({ length: 21 }, (_, i) => {
      const [act] = decideOn({ kind: 'vanished' }, {}, { total: i + 1 })
      return act?.kind === 'endAttempt' ? act.retryAtMs : undefined
    })
    expect(retries.slice(0, 6)).toEqual([0, 1_000, 2_000, 4_000, 8_000, 10_000])
    expect(retries.at(-1)).toBeNull()
  })

  it('is not confused with the failures of the same step', () => {
    expect(decideOn({ kind: 'vanished' }, {}, { total: 21, failures: 20 })).toMatchObject([{ retryAtMs: 0 }])
  })
})

describe('a time-out', () => {
  it('stops what runs longer than declared, and not a moment earlier', () => {
    const running = (ranMs: number) => decideOn({ kind: 'running' }, { timeoutMs: 60_000 }, {}, ranMs)
    expect(running(60_000)).toEqual([])
    expect(running(60_001)).toMatchObject([
      { kind: 'stopAttempt', outcome: 'timeOut', why: 'ran longer than its time-out of 60 s' },
    ])
  })

  it('counts the preparing too', () => {
    expect(decideOn({ kind: 'preparing' }, { timeoutMs: 10 }, {}, 11)).toMatchObject([{ kind: 'stopAttempt' }])
  })

  it('goes by how long it ran, whatever time it is', () => {
    const attempts = [{ attempt: attemptOf({ startedAtMs: 0 }), seen: { kind: 'running' } as const, ranMs: 59_000 }]
    const view = viewOf({ steps: [stepOf({ status: 'running' })], attempts })
    for (const nowMs of [-3_600_000, 59_000, 3_600_000]) expect(decideNextSteps(view, nowMs)).toEqual([])
  })

  it('leaves alone what is being stopped or collected already', () => {
    expect(decideOn({ kind: 'ending' }, { timeoutMs: 10 }, {}, 11)).toEqual([])
  })

  it('leaves alone what ended in time but is seen late', () => {
    expect(decideOn({ kind: 'exited', code: 0 }, { timeoutMs: 10 }, {}, 99)).toMatchObject([{ kind: 'collect' }])
  })
})

describe('cancelling', () => {
  const cancelled = runOf({ cancelWhy: 'ann: wrong data' })

  it('first stops what runs, whatever is seen of it', () => {
    const view = { run: cancelled, steps: [stepOf({ status: 'running' }), stepOf({ name: 'b' })] }
    const attempts = [{ attempt: attemptOf(), seen: { kind: 'running' } as const, ranMs: 0 }]
    expect(decide({ ...view, attempts })).toMatchObject([
      { kind: 'stopAttempt', outcome: 'cancel', why: 'ann: wrong data' },
    ])
  })

  it('waits for what is being stopped', () => {
    const attempts = [{ attempt: attemptOf(), seen: { kind: 'ending' } as const, ranMs: 0 }]
    expect(decide({ run: cancelled, steps: [stepOf({ status: 'running' })], attempts })).toEqual([])
  })

  it('then cancels the steps that never began, and the run', () => {
    const steps = [stepOf({ status: 'cancelled' }), stepOf({ name: 'b' })]
    expect(decide({ run: cancelled, steps })).toEqual([
      { kind: 'cancelStep', step: 'b', why: 'ann: wrong data' },
      { kind: 'endRun', event: 'cancel', why: 'ann: wrong data' },
    ])
  })
})

describe('the end of a run', () => {
  it('skips along the graph what a failed step leaves without its needs', () => {
    const steps = [
      stepOf({ name: 'a', status: 'failed', why: 'exit status 1' }),
      stepOf({ name: 'b', status: 'skipped', spec: { needs: ['a'] } }),
      stepOf({ name: 'c', spec: { needs: ['b'] } }),
    ]
    expect(decide({ steps })).toEqual([{ kind: 'skipStep', step: 'c', why: "step 'b' skipped" }])
  })

  it('fails with the reason of the step that failed', () => {
    const steps = [
      stepOf({ name: 'a', status: 'failed', why: 'exit status 1' }),
      stepOf({ name: 'b', status: 'skipped' }),
    ]
    expect(decide({ steps })).toEqual([{ kind: 'endRun', event: 'fail', why: "step 'a' failed: exit status 1" }])
  })

  it('waits for the other steps before it fails', () => {
    expect(
      decide({ steps: [stepOf({ name: 'a', status: 'failed' }), stepOf({ name: 'b', status: 'running' })] }),
    ).toEqual([])
  })

  it('succeeds with the one model that was written', () => {
    const steps = [
      stepOf({ name: 'a', status: 'succeeded' }),
      stepOf({ name: 'b', status: 'succeeded', modelDigest: 'sha256:1' }),
    ]
    expect(decide({ steps })).toEqual([{ kind: 'endRun', event: 'succeed', why: 'all steps succeeded' }])
  })

  it('fails where no step wrote a model', () => {
    const [act] = decide({ steps: [stepOf({ status: 'succeeded' })] })
    expect(act).toMatchObject({ event: 'fail', why: expect.stringContaining('none wrote model.onnx') as string })
  })

  it('fails where several did, naming them', () => {
    const steps = ['a', 'b'].map((name) => stepOf({ name, status: 'succeeded', modelDigest: 'sha256:1' }))
    expect(decide({ steps })).toMatchObject([
      { event: 'fail', why: 'more than one step wrote a model: a, b; one must' },
    ])
  })
})

describe('the next look', () => {
  it('comes with the first end of a pause, or time-out', () => {
    const steps = [stepOf({ name: 'a', status: 'running', spec: { timeoutMs: 9_000 } }), stepOf({ name: 'b' })]
    const attempts = [{ attempt: attemptOf({ step: 'a' }), seen: { kind: 'running' } as const, ranMs: 1_000 }]
    expect(nextLookInMs(viewOf({ steps, attempts, pauses: { b: 7_000 } }))).toBe(7_000)
    expect(nextLookInMs(viewOf({ steps, attempts }))).toBe(8_000)
    expect(nextLookInMs(viewOf())).toBeNull()
  })
})

/** A run driven by decisions alone, its processes by dice: whatever they do, it ends, and by the rules. */
describe('any run', () => {
  const graphs = fc.integer({ min: 1, max: 6 }).chain((size) =>
    fc.record({
      needs: fc.tuple(
        ...Array.from({ length: size }, (_, i) => fc.subarray(Array.from({ length: i }, (_, n) => `s${n}`))),
      ),
      retries: fc.array(fc.nat(2), { minLength: size, maxLength: size }),
      places: fc.integer({ min: 1, max: 3 }),
      fates: fc.array(
        fc.constantFrom<Observed['kind'] | 'ok'>('ok', 'ok', 'exited', 'vanished', 'unusable', 'unstarted'),
        { minLength: 1, maxLength: 20 },
      ),
      cancelAfter: fc.option(fc.nat(15)),
    }),
  )

  it('ends; no step runs before its needs, again after its success, or beyond its retries and places', () => {
    fc.assert(
      fc.property(graphs, (plan) => {
        const steps = plan.needs.map((needs, i) =>
          stepOf({ name: `s${i}`, spec: { needs, retries: plan.retries[i]!, backoffMs: 10 } }),
        )
        const end = simulate(steps, plan)
        expect(['succeed', 'fail', 'cancel']).toContain(end.event)
        expect(steps.every((s) => stepMachine.isFinal(s.status))).toBe(true)
        expect(end.mostAtOnce).toBeLessThanOrEqual(plan.places)
        for (const step of steps) {
          expect(end.made[step.name]?.failures ?? 0).toBeLessThanOrEqual(step.spec.retries + 1)
        }
        const early = steps.filter((s) => s.status === 'succeeded' && !hasItsNeeds(s, steps))
        expect([early, end.wrong]).toEqual([[], []])
      }),
      { numRuns: 300 },
    )
  })
})

interface Plan {
  places: number
  fates: (Observed['kind'] | 'ok')[]
  cancelAfter: number | null
}

function simulate(steps: Step[], plan: Plan) {
  const run = runOf()
  const wrong: string[] = []
  const made: RunView['made'] = {}
  const attempts = new Map<string, RunView['attempts'][number]>()
  let [turn, nowMs, mostAtOnce, fate] = [0, 0, 0, 0]
  for (; turn < 2_000; turn++) {
    if (turn === plan.cancelAfter) run.cancelWhy = 'enough'
    for (const entry of attempts.values()) entry.seen = seenOf(plan.fates[fate++ % plan.fates.length]!)
    const places = { free: plan.places - attempts.size, max: plan.places }
    const view = { run, steps, attempts: [...attempts.values()], pauses: pausesAt(steps, nowMs), made, places }
    const acts = decideNextSteps({ ...view, holdBack: null }, nowMs)
    for (const act of acts) {
      if (act.kind === 'endRun') return { event: act.event, made, mostAtOnce, wrong }
      const step = steps.find((s) => s.name === ('step' in act ? act.step : 'attempt' in act ? act.attempt.step : ''))!
      if (act.kind === 'startAttempt') {
        if (!hasItsNeeds(step, steps)) wrong.push(`${step.name} started before its needs`)
        step.status = stepMachine.transition(step.status, 'start')
        attempts.set(step.name, {
          attempt: attemptOf({ step: step.name, number: act.number }),
          seen: { kind: 'running' },
          ranMs: 0,
        })
        const count = (made[step.name] ??= { total: 0, failures: 0 })
        if (act.number !== ++count.total) wrong.push(`${step.name}: attempt ${act.number} is number ${count.total}`)
      } else if (act.kind === 'skipStep') step.status = stepMachine.transition(step.status, 'skip')
      else if (act.kind === 'cancelStep') step.status = stepMachine.transition(step.status, 'cancel')
      else endAttempt(act, step, attempts, made)
    }
    mostAtOnce = Math.max(mostAtOnce, attempts.size)
    if (acts.length === 0) nowMs += 5_000
  }
  throw new Error('it does not end')
}

function pausesAt(steps: Step[], nowMs: number): RunView['pauses'] {
  const paused = steps.filter(({ retryAtMs }) => retryAtMs !== null && retryAtMs > nowMs)
  return Object.fromEntries(paused.map(({ name, retryAtMs }) => [name, retryAtMs! - nowMs]))
}

function endAttempt(
  act: ReturnType<typeof decideNextSteps>[number],
  step: Step,
  attempts: Map<string, unknown>,
  made: RunView['made'],
): void {
  attempts.delete(step.name)
  if (act.kind === 'collect') {
    step.status = stepMachine.transition(step.status, 'succeed')
    step.modelDigest = step.name === 's0' ? 'sha256:1' : null
  } else if (act.kind === 'stopAttempt') step.status = stepMachine.transition(step.status, 'cancel')
  else if (act.kind === 'endAttempt') {
    if (act.outcome === 'fail') made[step.name]!.failures++
    step.retryAtMs = act.retryAtMs
    step.status = stepMachine.transition(step.status, act.retryAtMs === null ? 'fail' : 'retry')
  }
}

function seenOf(fate: Observed['kind'] | 'ok'): Observed {
  if (fate === 'ok') return { kind: 'exited', code: 0 }
  if (fate === 'exited') return { kind: 'exited', code: 1 }
  return fate === 'unusable' ? { kind: 'unusable', why: 'broken' } : ({ kind: fate } as Observed)
}

const hasItsNeeds = (step: Step, steps: Step[]): boolean =>
  step.spec.needs.every((need) => steps.find((s) => s.name === need)!.status === 'succeeded')

function viewOf(overrides: Partial<RunView> = {}): RunView {
  const places = { free: 4, max: 4 }
  return { run: runOf(), steps: [stepOf()], attempts: [], pauses: {}, made: {}, holdBack: null, places, ...overrides }
}

const decide = (overrides: Partial<RunView>) => decideNextSteps(viewOf(overrides), 0)

/** One running attempt of one step, at time 0. */
function decideOn(
  seen: Observed,
  spec: Partial<Step['spec']> = {},
  made: Partial<{ total: number; failures: number }> = {},
  ranMs = 0,
) {
  const failures = made.failures ?? 0
  const view = viewOf({
    steps: [stepOf({ status: 'running', spec })],
    attempts: [{ attempt: attemptOf(), seen, ranMs }],
    made: { train: { total: made.total ?? failures + 1, failures } },
  })
  return decideNextSteps(view, 0)
}
