import { describe, expect, it } from 'vitest'
import type { GatherEndpointConfig } from '../../config/project.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { plainSignature } from '../../testing/control-builders.ts'
import { decideGather, judgeJoin, type GatherCandidate, type GatherView } from './decide-gather.ts'
import type { GatherMember } from './gather.ts'

const config = (overrides: Partial<GatherEndpointConfig> = {}): GatherEndpointConfig => ({
  name: 'second-opinion',
  members: [
    { model: 'a', versions: 1, weight: 1 },
    { model: 'b', versions: 1, weight: 1 },
  ],
  combine: { kind: 'mean' },
  deadlineMs: 1_000,
  quorum: 1,
  join: { requests: 100, maxErrorShare: 0.01 },
  timeoutMs: 10_000,
  bodyLimitBytes: 1_000_000,
  log: { mode: 'relaxed', samplePercent: 100 },
  limits: { concurrency: null, perCaller: null },
  ...overrides,
})

const candidate = (versionId: string, overrides: Partial<GatherCandidate> = {}): GatherCandidate => ({
  versionId,
  model: versionId.split('@')[0]!,
  isReleasedAnew: false,
  byRollback: false,
  signature: plainSignature,
  deployed: true,
  ...overrides,
})

const member = (versionId: string, overrides: Partial<GatherMember> = {}): GatherMember => ({
  endpoint: 'second-opinion',
  versionId,
  model: versionId.split('@')[0]!,
  status: 'member',
  why: 'test',
  requests: 0,
  failed: 0,
  beganAtMs: 0,
  admittedAtMs: 0,
  statusAtMs: 0,
  ...overrides,
})

const joining = (versionId: string, requests: number, failed: number) =>
  member(versionId, { status: 'joining', requests, failed, admittedAtMs: null })

function acts(view: Partial<GatherView>): string[] {
  const whole = { config: config(), members: [], candidates: [], signatureOf: () => plainSignature, ...view }
  return decideGather(whole).map(({ kind, versionId }) => `${kind} ${versionId}`)
}

const founded = [member('a@1'), member('b@1')]

describe('who is in a gather', () => {
  it('are first all that are deployed', () => {
    expect(acts({ candidates: [candidate('a@1'), candidate('b@2')] })).toEqual(['admit a@1', 'admit b@2'])
    expect(acts({ candidates: [candidate('a@1'), candidate('b@2', { deployed: false })] })).toEqual(['admit a@1'])
  })

  it('stays so while nothing is released', () => {
    expect(acts({ members: founded, candidates: [candidate('a@1'), candidate('b@1')] })).toEqual([])
  })

  it('is joined by a new version through copies, while the old one stays', () => {
    const candidates = [candidate('a@2'), candidate('b@1')]
    expect(acts({ members: founded, candidates })).toEqual(['join a@2'])
    expect(acts({ members: [...founded, joining('a@2', 99, 0)], candidates })).toEqual([])
    expect(acts({ members: [...founded, joining('a@2', 100, 1)], candidates })).toEqual(['admit a@2', 'leave a@1'])
  })

  it('keeps out a version that failed, until it is released again', () => {
    const candidates = [candidate('a@2'), candidate('b@1')]
    expect(acts({ members: [...founded, joining('a@2', 60, 2)], candidates })).toEqual(['refuse a@2'])
    const refused = member('a@2', { status: 'refused' })
    expect(acts({ members: [...founded, refused], candidates })).toEqual([])
    const again = [candidate('a@2', { isReleasedAnew: true }), candidate('b@1')]
    expect(acts({ members: [...founded, refused], candidates: again })).toEqual(['join a@2'])
  })

  it('is left by a version that was joining when another is released', () => {
    const candidates = [candidate('a@3'), candidate('b@1')]
    expect(acts({ members: [...founded, joining('a@2', 5, 0)], candidates })).toEqual(['join a@3', 'leave a@2'])
  })

  it('changes at once by a rollback, and takes a former member back at once', () => {
    const members = [member('a@2'), member('b@1'), member('a@1', { status: 'left', admittedAtMs: 5 })]
    expect(acts({ members, candidates: [candidate('a@1'), candidate('b@1')] })).toEqual(['admit a@1', 'leave a@2'])
    const stranger = [candidate('a@7', { byRollback: true }), candidate('b@1')]
    expect(acts({ members: founded, candidates: stranger })).toEqual(['admit a@7', 'leave a@1'])
  })

  it('needs no copies where there could be none: below the quorum, or none asked for', () => {
    const alone = [member('a@1')]
    const candidates = [candidate('a@1'), candidate('b@1')]
    expect(acts({ members: alone, candidates })).toEqual(['join b@1'])
    expect(acts({ config: config({ quorum: 2 }), members: alone, candidates })).toEqual(['admit b@1'])
    const none = config({ join: { requests: 0, maxErrorShare: 0 } })
    expect(acts({ config: none, members: alone, candidates })).toEqual(['admit b@1'])
  })

  it('are the last versions of a model where several are declared, the oldest of them leaves', () => {
    const two = config({ members: [{ model: 'a', versions: 2, weight: 1 }] })
    const members = [member('a@1'), member('a@2')]
    const candidates = [candidate('a@3'), candidate('a@2')]
    expect(acts({ config: two, members, candidates })).toEqual(['join a@3'])
    expect(acts({ config: two, members: [...members, joining('a@3', 100, 0)], candidates })).toEqual([
      'admit a@3',
      'leave a@1',
    ])
  })

  it('is left by a model that is no longer declared', () => {
    const one = config({ members: [{ model: 'a', versions: 1, weight: 1 }] })
    expect(acts({ config: one, members: founded, candidates: [candidate('a@1')] })).toEqual(['leave b@1'])
  })

  it('is refused to a version whose answers could not be combined', () => {
    const wide: Signature = {
      ...plainSignature,
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 3], columns: null }],
    }
    const candidates = [candidate('a@1'), candidate('b@2', { signature: wide })]
    const [act] = decideGather({
      config: config(),
      members: [member('a@1')],
      candidates,
      signatureOf: () => plainSignature,
    })
    expect(act).toMatchObject({
      kind: 'refuse',
      versionId: 'b@2',
      why: expect.stringMatching(/output 'y' has the shape \[-1, 3\], that of a@1 \[-1, 1\]/) as string,
    })
  })

  it('settles: acting on a decision leaves nothing to decide', () => {
    const candidates = [candidate('a@2'), candidate('b@1')]
    const after = [member('a@2'), member('b@1'), member('a@1', { status: 'left' })]
    expect(acts({ members: after, candidates })).toEqual([])
  })
})

describe('a joining version', () => {
  const { join } = config()

  it.each<[number, number, 'admit' | 'refuse' | null]>([
    [0, 0, null],
    [99, 0, null],
    [99, 1, null],
    [100, 1, 'admit'],
    [2, 2, 'refuse'],
    [100, 2, 'refuse'],
    [500, 5, 'admit'],
    [500, 6, 'refuse'],
  ])('that answered %i copies, %i of them badly: %s', (requests, failed, kind) => {
    expect(judgeJoin({ requests, failed }, { join })?.kind ?? null).toBe(kind)
  })
})
