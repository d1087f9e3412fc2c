import { describe, expect, it } from 'vitest'
import type { EventView } from '../../../src/surface/api/event-schemas.ts'
import { TrialBook } from './trial-book.ts'
import { eventInWords, Watch, type WatchParts } from './watch.ts'

describe('what Millrace is doing', () => {
  it('is nothing to wait for where no run is open', async () => {
    const { watch } = watching({})
    expect(await watch.look(0)).toEqual({ busy: null, trial: null })
  })

  it('is waited for while a run trains, with the progress of its step', async () => {
    const { watch } = watching({ runs: [run({ settled: false })] })
    expect(await watch.look(0)).toEqual({ busy: { text: 'run-2: train round 30', share: 0.5 }, trial: null })
  })

  it.each(['deploying', 'preflight', 'switching'])('is waited for while its version is %s', async (status) => {
    const { watch } = watching({ runs: [run({ settled: false, release: 'release-2' })], releases: [release(status)] })
    expect((await watch.look(0)).busy).toMatchObject({ text: `release-2 of late-flight@2: ${status}` })
  })

  it.each(['shadowing', 'canary', 'held'])(
    'is not waited for while its version is %s: labels come with the days',
    async (status) => {
      const { watch } = watching({ runs: [run({ settled: false, release: 'release-2' })], releases: [release(status)] })
      expect(await watch.look(0)).toMatchObject({ busy: null, trial: { version: 'late-flight@2' } })
    },
  )

  it('is not waited for while its version waits for the end of a trial before it is evaluated', async () => {
    const runs = [run({ settled: false, status: 'candidate' })]
    expect((await watching({ runs, releases: [release('shadowing')] }).watch.look(0)).busy).toBeNull()
    expect((await watching({ runs }).watch.look(0)).busy).not.toBeNull()
  })

  it('is waited for while a release is about to begin, unless it waits behind a trial', async () => {
    const alone = watching({ releases: [release('queued')] })
    expect((await alone.watch.look(0)).busy).toMatchObject({ text: 'release-2 of late-flight@2 begins' })
    const behind = watching({ releases: [{ ...release('queued'), id: 'release-3' }, release('shadowing')] })
    expect((await behind.watch.look(0)).busy).toBeNull()
  })

  it('is told once, with the figures and the reason', async () => {
    const { watch, told } = watching({ runs: [run({ settled: true, why: 'gate failed' })] })
    await watch.look(0)
    await watch.look(0)
    expect(told).toEqual([
      [
        'late-flight@2: trained in 3.0 s; log loss 0.4100, AUC 0.700 on the newest week',
        'gate failed: worse by 0.2',
        'not released: gate failed',
      ].join('\n'),
    ])
  })

  it('is kept of a trial until it is over, and of a release that never was on trial nothing', async () => {
    const open = watching({ releases: [release('canary')], canary: { release: 'release-2', running: true, steps: [] } })
    await open.watch.look(0)
    expect(open.trials.isClosed('release-2')).toBe(false)
    const over = watching({
      releases: [release('released')],
      canary: { release: 'release-2', running: false, steps: [] },
    })
    await over.watch.look(0)
    expect(over.trials.isClosed('release-2')).toBe(true)
    const immediate = watching({ releases: [release('released')], canary: null })
    await immediate.watch.look(0)
    expect(immediate.trials.isClosed('release-2')).toBe(true)
    expect(immediate.trials.facts((atMs) => atMs)).toEqual([])
  })

  it('is told at some length, not at any', async () => {
    const events = [event({ entity: 'freeze', to: 'active', cause: 'why '.repeat(200) })]
    const { watch, told } = watching({ events })
    await watch.look(0)
    expect(told[0]).toHaveLength(240)
    expect(told[0]).toMatch(/^frozen: why .*…$/)
  })

  it('is told event by event, each once', async () => {
    const events = [event({ seq: 7, entity: 'trigger', to: 'fired', cause: 'cron: Monday', detail: { run: 'run-3' } })]
    const { watch, told, asked } = watching({ events })
    await watch.look(0)
    await watch.look(0)
    expect(told).toEqual(['Millrace trains (run-3). Why: cron: Monday'])
    expect(asked).toEqual([0, 7])
  })
})

describe('an event in words', () => {
  it.each([
    [
      { entity: 'release', to: 'shadowing', cause: '2 of 2 replicas are ready' },
      'x-1 gets copies of the live requests: 2 of 2 replicas are ready',
    ],
    [{ entity: 'release', to: 'rolled-back', cause: 'harm proven' }, 'x-1 lost its share again: harm proven'],
    [
      {
        entity: 'alert',
        from: 'pending',
        to: 'firing',
        cause: 'PSI 0.4',
        detail: { source: 'drift', subject: 'distance' },
      },
      'alarm (drift of distance): PSI 0.4',
    ],
    [
      { entity: 'alert', from: 'firing', to: 'resolved', cause: 'good', detail: { source: 'quality', subject: '' } },
      'alarm over (quality): good',
    ],
    [{ entity: 'retirement', to: 'cold', cause: 'superseded' }, 'x-1 retired, cold: superseded'],
    [{ entity: 'freeze', to: 'active', cause: 'rolled back' }, 'frozen: rolled back'],
  ] as [Partial<EventView>, string][])('%j', (given, words) => {
    expect(eventInWords(event(given))).toBe(words)
  })

  it.each([
    { entity: 'release', to: 'deploying' },
    { entity: 'alert', from: null, to: 'pending' },
    { entity: 'alert', from: 'pending', to: 'resolved' },
    { entity: 'retirement', to: 'proposed' },
    { entity: 'step', to: 'running' },
  ] as Partial<EventView>[])('%j is a detail', (given) => {
    expect(eventInWords(event(given))).toBeNull()
  })
})

function watching(rows: { runs?: unknown[]; releases?: unknown[]; events?: EventView[]; canary?: unknown }) {
  const trials = new TrialBook()
  const told: string[] = []
  const asked: number[] = []
  const millrace = {
    recentRuns: () => Promise.resolve(rows.runs ?? []),
    recentReleases: () => Promise.resolve(rows.releases ?? []),
    run: () =>
      Promise.resolve({
        id: 'run-2',
        progress: 0.5,
        steps: [{ name: 'train', status: 'running', progress: { text: 'round 30' } }],
      }),
    versions: () => Promise.resolve([{ ref: 'late-flight@2', releaseWhy: null, metrics: { logLoss: 0.41, auc: 0.7 } }]),
    gate: () => Promise.resolve({ verdict: 'failed', why: 'worse by 0.2' }),
    canary: () => Promise.resolve(rows.canary ?? null),
    eventsAfter: (seq: number) => {
      asked.push(seq)
      return Promise.resolve((rows.events ?? []).filter((one) => one.seq > seq))
    },
  } as unknown as WatchParts['millrace']
  const view = { tell: (_: number | null, text: string) => void told.push(text) }
  return { watch: new Watch({ millrace, trials, view, model: 'late-flight' }), told, asked, trials }
}

function run(outcome: { settled: boolean; status?: string; release?: string; why?: string }) {
  return {
    id: 'run-2',
    status: 'succeeded',
    createdAtMs: 1_000,
    endedAtMs: 4_000,
    asOfMs: 0,
    outcome: { version: outcome.settled ? 'late-flight@2' : null, release: null, why: null, ...outcome },
  }
}

const release = (status: string) => ({ id: 'release-2', version: 'late-flight@2', status, why: 'soaking' })

function event(given: Partial<EventView>): EventView {
  return {
    seq: 1,
    entity: 'x',
    entityId: 'x-1',
    from: null,
    to: 'y',
    cause: 'c',
    atMs: 0,
    calendarMs: 0,
    detail: null,
    ...given,
  }
}
