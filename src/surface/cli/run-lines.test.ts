import { expect, it } from 'vitest'

import type { RunView, StepView } from '../api/run-schemas.ts'
import { describeChanges, progressLine } from './run-lines.ts'

const step = (facts: Partial<StepView> = {}): StepView => ({
  name: 'train',
  status: 'running',
  why: null,
  needs: [],
  progress: null,
  startedAtMs: 0,
  endedAtMs: null,
  retryAtMs: null,
  attempts: [],
  ...facts,
})

const run = (facts: Partial<RunView> = {}): RunView => ({
  id: 'run-1',
  model: 'm',
  status: 'running',
  why: null,
  cause: 'by hand',
  revision: 1,
  cancelWhy: null,
  asOfMs: 0,
  createdAtMs: 0,
  startedAtMs: 0,
  endedAtMs: null,
  progress: 0,
  outcome: { version: null, status: null, why: null, release: null, releaseStatus: null, settled: false },
  params: {},
  seed: 0,
  codeDigest: null,
  steps: [step()],
  ...facts,
})

it('says nothing where nothing has changed', () => {
  expect(describeChanges(run(), run({ progress: 0.4 }))).toEqual([])
})

it('tells each failed attempt once, with its reason', () => {
  const failed = step({
    attempts: [{ attempt: 1, status: 'failed', why: 'exit status 3', exitCode: 3, startedAtMs: 0, endedAtMs: 5 }],
  })
  expect(describeChanges(run(), run({ steps: [failed] }))).toEqual(['  train  attempt 1 failed: exit status 3'])
  expect(describeChanges(run({ steps: [failed] }), run({ steps: [failed] }))).toEqual([])
})

it('follows a version from its registration to its release', () => {
  const outcome = {
    version: 'm@2',
    status: 'evaluating' as const,
    why: null,
    release: null,
    releaseStatus: null,
    settled: false,
  }
  const registered = run({ outcome })
  const decided = run({ outcome: { ...outcome, status: 'passed', why: 'better by 0.01' } })
  const flipped = { ...outcome, status: 'passed', why: null, release: 'release-1', releaseStatus: 'released' } as const
  const flipping = run({ outcome: { ...flipped, settled: false } })
  const released = run({ outcome: { ...flipped, settled: true } })
  expect(describeChanges(run(), registered)).toEqual(['m@2  registered', 'm@2  evaluating'])
  expect(describeChanges(registered, decided)).toEqual(['m@2  passed: better by 0.01'])
  expect(describeChanges(decided, released)).toEqual(['release-1  released'])
  // While a gateway routes as before, clients get the answers of before.
  expect(describeChanges(decided, flipping)).toEqual([])
  expect(describeChanges(flipping, released)).toEqual(['release-1  released'])
})

it('tells everything at the first look, as when following starts late', () => {
  const ended = run({
    status: 'failed',
    why: "step 'train' failed",
    endedAtMs: 2_000,
    steps: [step({ status: 'failed', why: 'exit status 1', endedAtMs: 2_000 })],
  })
  expect(describeChanges(null, ended)).toEqual([
    '  train  failed in 2.0 s: exit status 1',
    "run-1  failed in 2.0 s: step 'train' failed",
  ])
})

it("shows the trainer's own progress, cut to the terminal", () => {
  const said = run({ steps: [step({ progress: { fraction: 0.5, text: 'epoch 3' } })] })
  expect(progressLine(said, 80)).toBe('train ████████████░░░░░░░░░░░░  50% epoch 3')
  expect(progressLine(said, 20)).toHaveLength(19)
})
