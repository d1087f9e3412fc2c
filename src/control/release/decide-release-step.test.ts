import { describe, expect, it } from 'vitest'
import { deploymentOf, releaseOf, trialPlan } from '../../testing/control-builders.ts'
import type { Look } from './trial.ts'
import type { TrialRow } from './trial-store.ts'
import { decideReleaseStep, type ReleaseView } from './decide-release-step.ts'
import { releaseMachine, type ReleaseStatus } from './release.ts'

const open: ReleaseStatus[] = ['queued', 'deploying', 'preflight', 'switching']
const passed = { kind: 'passed', why: '64 golden rows' } as const

/** Every status under what may be seen of it. */
const table: [ReleaseStatus, string, Partial<ReleaseView>, string][] = [
  ['queued', 'nothing is in its way', {}, 'deploy'],
  [
    'queued',
    'its version is warm',
    { warm: { deploymentId: 'deployment-1', readyReplicas: 1, isAsleep: false } },
    'useWarm',
  ],
  [
    'queued',
    'its warm deployment has no ready replica',
    { warm: { deploymentId: 'deployment-1', readyReplicas: 0, isAsleep: false } },
    'deploy',
  ],
  [
    'queued',
    'its warm deployment sleeps',
    { warm: { deploymentId: 'deployment-1', readyReplicas: 0, isAsleep: true } },
    'useWarm',
  ],
  ['queued', 'the disk is low', { diskLow: true }, 'hold'],
  ['deploying', 'no replica is ready', {}, 'hold'],
  ['deploying', 'a replica is ready', { readyReplicas: 1 }, 'startPreflight'],
  ['deploying', 'time is over', { waitedMs: 60_001 }, 'fail'],
  ['deploying', 'time is over just as a replica is ready', { waitedMs: 60_001, readyReplicas: 1 }, 'startPreflight'],
  ['deploying', 'its deployment failed', { deployment: deploymentOf({ status: 'failed' }) }, 'fail'],
  ['preflight', 'it runs', { preflight: 'running', readyReplicas: 1 }, 'hold'],
  ['preflight', 'it takes too long', { preflight: 'running', waitedMs: 60_001 }, 'fail'],
  ['preflight', 'it has passed', { preflight: passed, readyReplicas: 1 }, 'passPreflight'],
  ['preflight', 'it has failed', { preflight: { kind: 'failed', why: 'row 3 differs' } }, 'fail'],
  ['preflight', 'a restart has lost it', { readyReplicas: 1 }, 'startPreflight'],
  ['preflight', 'a restart has not heard its replica yet', {}, 'hold'],
  ['preflight', 'its deployment failed', { deployment: deploymentOf({ status: 'failed' }) }, 'fail'],
  ['switching', 'every replica is ready', { readyReplicas: 2 }, 'flip'],
  ['switching', 'it is being woken', { deployment: deploymentOf({ replicasWanted: 0 }) }, 'hold'],
  ['switching', 'some replicas are ready', { readyReplicas: 1 }, 'hold'],
  ['switching', 'only some were ready in time', { readyReplicas: 1, waitedMs: 60_001 }, 'flip'],
  ['switching', 'all replicas were lost', { waitedMs: 60_001 }, 'fail'],
  [
    'switching',
    'its deployment began to drain',
    { deployment: deploymentOf({ status: 'draining' }), readyReplicas: 2 },
    'fail',
  ],
  ['switching', 'its deployment is gone', { deployment: null }, 'fail'],
]

describe('the next step of a release', () => {
  it.each(table)('that is %s when %s', (status, _seen, overrides, kind) => {
    expect(decide(status, overrides).kind).toBe(kind)
  })

  it.each(releaseMachine.states.filter((s) => !open.includes(s)))('that is %s is none', (status) => {
    expect(decide(status, { readyReplicas: 2, preflight: passed }).kind).toBe('hold')
  })

  it.each(open)('that is %s is its end once a person has rejected the version', (status) => {
    expect(decide(status, { rejected: 'rejected by ann: biased', readyReplicas: 2 })).toEqual({
      kind: 'cancel',
      why: 'rejected by ann: biased',
    })
  })
})

describe('releases on the same endpoint', () => {
  it('wait for the one under way', () => {
    const busy = releaseOf({ id: 'release-1', status: 'deploying' })
    expect(decide('queued', {}, [busy])).toEqual({ kind: 'hold', why: 'release-1 is under way' })
  })

  it('are superseded in the queue by a newer one, counted by number and not by letter', () => {
    const newer = releaseOf({ id: 'release-10', versionId: 'm@10' })
    expect(decide('queued', {}, [newer])).toEqual({ kind: 'supersede', why: 'release-10 (m@10) is newer' })
    expect(decide('queued', {}, [releaseOf({ id: 'release-1' })]).kind).toBe('deploy')
  })

  it('that are under way are not superseded by a newer candidate', () => {
    expect(decide('switching', { readyReplicas: 2 }, [releaseOf({ id: 'release-10' })]).kind).toBe('flip')
  })

  it.each<ReleaseStatus>(['deploying', 'preflight', 'switching'])(
    'that are %s are cancelled by a rollback',
    (status) => {
      const rollback = releaseOf({ id: 'release-10', kind: 'rollback', versionId: 'm@1' })
      expect(decide(status, { readyReplicas: 2 }, [rollback])).toEqual({
        kind: 'cancel',
        why: 'release-10 goes back to m@1',
      })
    },
  )

  it('do not hold up a rollback', () => {
    const busy = releaseOf({ id: 'release-1', status: 'switching' })
    expect(decide('queued', { release: releaseOf({ id: 'release-2', kind: 'rollback' }) }, [busy]).kind).toBe('deploy')
  })

  it('never supersede a rollback in the queue, and wait for it; a newer rollback does', () => {
    const rollback = releaseOf({ id: 'release-2', kind: 'rollback', versionId: 'm@0' })
    const newer = releaseOf({ id: 'release-3', versionId: 'm@3' })
    expect(decide('queued', { release: rollback }, [newer]).kind).toBe('deploy')
    expect(decide('queued', { release: newer }, [rollback])).toEqual({ kind: 'hold', why: 'release-2 is under way' })
    const another = releaseOf({ id: 'release-4', kind: 'rollback' })
    expect(decide('queued', { release: rollback }, [another]).kind).toBe('supersede')
  })

  it('let a rollback flip with the first ready replica', () => {
    const release = releaseOf({ id: 'release-2', kind: 'rollback', status: 'switching' })
    expect(decide('switching', { release, readyReplicas: 1 }).kind).toBe('flip')
  })
})

it('a preflight that lost its replica is run again on another one, until the time-out', () => {
  expect(decide('preflight', { readyReplicas: 0 }).kind).toBe('hold')
  expect(decide('preflight', { readyReplicas: 1 }).kind).toBe('startPreflight')
  expect(decide('preflight', { readyReplicas: 1, waitedMs: 60_001 }).kind).toBe('fail')
})

const plan = trialPlan()

describe('a release that is ready to switch', () => {
  const ready = { readyReplicas: 2, champion: { versionId: 'm@0' } }

  it.each<[string, Partial<ReleaseView>, string]>([
    ['begins with its canary', {}, 'beginTrial'],
    ['begins with its shadow', { plan: { ...plan, strategy: 'shadow' } }, 'beginTrial'],
    ['flips where it is so declared', { plan: { ...plan, strategy: 'immediate' } }, 'flip'],
    ['flips where nobody serves whom it could be compared with', { champion: null }, 'flip'],
    ['flips where its own version serves', { champion: { versionId: 'm@1' } }, 'flip'],
    ['waits until the configuration was read', { plan: null }, 'hold'],
    ['ends where the model has left the configuration', { configured: false }, 'cancel'],
  ])('%s', (_what, changed, kind) => {
    expect(decide('switching', { ...ready, plan, ...changed }).kind).toBe(kind)
  })

  it('flips at once if it is a rollback, also during a trial', () => {
    const release = releaseOf({ id: 'release-2', kind: 'rollback', status: 'switching' })
    expect(decide('switching', { ...ready, plan, release }).kind).toBe('flip')
  })

  it('with only some replicas in time is tried with these', () => {
    const late = { ...ready, plan, readyReplicas: 1, waitedMs: 60_001 }
    expect(decide('switching', late)).toMatchObject({ kind: 'beginTrial', next: { kind: 'canary', step: 1 } })
  })
})

describe('a release on its way while automatic release is frozen', () => {
  it.each(open)('is held back where it is %s, for a person to approve its version', (status) => {
    const step = decide(status, { readyReplicas: 2, plan, frozen: 'automatic release is frozen (freeze-1: the move)' })
    expect(step).toEqual({ kind: 'holdBack', why: 'automatic release is frozen (freeze-1: the move)' })
  })
})

describe('a release that is tried', () => {
  it.each<[ReleaseStatus, 'shadow' | 'canary', Look['decision'], string]>([
    ['shadowing', 'shadow', 'wait', 'hold'],
    ['shadowing', 'shadow', 'next', 'beginTrial'],
    ['shadowing', 'shadow', 'hold', 'ask'],
    ['shadowing', 'shadow', 'rollBack', 'fail'],
    ['held', 'shadow', 'rollBack', 'fail'],
    ['canary', 'canary', 'wait', 'hold'],
    ['canary', 'canary', 'next', 'beginTrial'],
    ['canary', 'canary', 'promote', 'flip'],
    ['canary', 'canary', 'hold', 'ask'],
    ['canary', 'canary', 'rollBack', 'rollBack'],
    ['held', 'canary', 'wait', 'hold'],
    ['held', 'canary', 'hold', 'hold'],
    ['held', 'canary', 'next', 'beginTrial'],
    ['held', 'canary', 'promote', 'flip'],
    ['held', 'canary', 'rollBack', 'rollBack'],
  ])('%s in a %s, the look says %s: %s', (status, kind, decision, step) => {
    expect(decide(status, { plan, trial: trialOf(kind, decision) }).kind).toBe(step)
  })

  it.each<[string, Partial<ReleaseView>, string]>([
    ['is rejected', { rejected: 'rejected by ann: no' }, 'cancel'],
    ['has left the configuration', { configured: false }, 'cancel'],
    ['has lost its trial', { trial: null }, 'cancel'],
    ['has lost its deployment', { deployment: deploymentOf({ status: 'draining' }) }, 'rollBack'],
    ['is looked at before the configuration was read', { plan: null }, 'hold'],
  ])('that %s', (_what, changed, kind) => {
    expect(decide('canary', { plan, trial: trialOf('canary', 'promote'), ...changed }).kind).toBe(kind)
  })

  it.each<[ReleaseStatus, Look['decision'], string]>([
    ['canary', 'wait', 'hold'],
    ['canary', 'next', 'ask'],
    ['canary', 'promote', 'ask'],
    ['canary', 'rollBack', 'rollBack'],
    ['held', 'next', 'hold'],
    ['held', 'promote', 'hold'],
    ['held', 'rollBack', 'rollBack'],
  ])('while automatic release is frozen gets no more traffic by itself: %s, %s: %s', (status, decision, step) => {
    const frozen = 'automatic release is frozen (freeze-1: the move)'
    expect(decide(status, { plan, trial: trialOf('canary', decision), frozen }).kind).toBe(step)
  })

  it('is held with the reason of the freeze', () => {
    const frozen = 'automatic release is frozen (freeze-1: the move)'
    const step = decide('canary', { plan, trial: trialOf('canary', 'promote'), frozen })
    expect(step).toEqual({ kind: 'ask', why: `test; but ${frozen}` })
  })

  it('gives way to a newer rollback, and not to a newer release', () => {
    const trial = trialOf('canary', 'wait')
    const newer = releaseOf({ id: 'release-3', status: 'queued' })
    expect(decide('canary', { plan, trial }, [newer]).kind).toBe('hold')
    expect(decide('canary', { plan, trial }, [{ ...newer, kind: 'rollback' }]).kind).toBe('cancel')
  })
})

function trialOf(kind: 'shadow' | 'canary', decision: Look['decision']): ReleaseView['trial'] {
  const row = { kind, step: kind === 'shadow' ? 0 : 1, weightPercent: 10 } as TrialRow
  return { row, look: { decision, why: 'test' } as Look }
}

function decide(status: ReleaseStatus, overrides: Partial<ReleaseView> = {}, others: ReleaseView['open'] = []) {
  const release = overrides.release ?? releaseOf({ id: 'release-2', status, deploymentId: 'deployment-1' })
  return decideReleaseStep({
    release,
    open: [...others, release],
    deployment: deploymentOf({ status: 'starting', replicasWanted: 2 }),
    warm: null,
    readyReplicas: 0,
    preflight: null,
    rejected: null,
    frozen: null,
    waitedMs: 0,
    timeoutMs: 60_000,
    diskLow: false,
    configured: true,
    plan: null,
    champion: null,
    trial: null,
    ...overrides,
  })
}
