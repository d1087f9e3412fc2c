import { describe, expect, it } from 'vitest'
import type { ModelConfig, MonitorKind, Project, ServiceLevelName } from './project.ts'
import { readProject } from './read-project.ts'

const DAY_MS = 86_400_000

function projectOf(written: unknown): Project {
  const read = readProject(written, '/work')
  if (read.kind === 'refused') throw new Error(read.findings.map((f) => `${f.path.join('.')}: ${f.message}`).join('\n'))
  return read.project
}
const full = { train: 'x', task: 'binary', label: 'y', holdout: 'h.csv' }
const modelOf = (model: object): ModelConfig =>
  projectOf({ name: 'p', models: { m: { ...full, ...model } } }).models[0]!
const refusals = (written: unknown): string[] => {
  const read = readProject(written, '/work')
  return read.kind === 'project' ? [] : read.findings.map((f) => `${f.path.join('.')}: ${f.message}. Fix: ${f.fix}`)
}
const modelRefusals = (model: object) => refusals({ name: 'p', models: { m: { ...full, ...model } } })
const monitorOf = (model: ModelConfig, name: MonitorKind) => model.monitors.monitors.find((m) => m.name === name)
const levelOf = (model: ModelConfig, name: ServiceLevelName) => model.serviceLevels.find((l) => l.name === name)

describe('triggers', () => {
  it('are named by their kind and their place among those of their kind, or by the user', () => {
    const { triggers } = modelOf({
      on: [
        { newData: 'a' },
        { cron: '0 3 * * 1', timeZone: 'Europe/Berlin', catchUp: 'all', overlap: true },
        { alarm: ['drift', 'quality', 'drift'], coolDown: '2d', perDay: 3 },
        { cron: '@daily', name: 'nightly' },
        { cron: '30 6 1 * *' },
        { alarm: 'any' },
      ],
    })
    expect(triggers).toEqual([
      { kind: 'newData', name: 'newData-1', path: 'a', settleMs: 5_000, minFiles: 1 },
      {
        kind: 'cron',
        name: 'cron-1',
        cron: '0 3 * * 1',
        timeZone: 'Europe/Berlin',
        catchUp: 'all',
        overlap: true,
      },
      { kind: 'alarm', name: 'alarm-1', monitors: ['drift', 'quality'], coolDownMs: 2 * DAY_MS, perDay: 3 },
      { kind: 'cron', name: 'nightly', cron: '@daily', timeZone: 'UTC', catchUp: 'last', overlap: false },
      { kind: 'cron', name: 'cron-3', cron: '30 6 1 * *', timeZone: 'UTC', catchUp: 'last', overlap: false },
      { kind: 'alarm', name: 'alarm-2', monitors: [], coolDownMs: DAY_MS, perDay: 1 },
    ])
  })

  it('get one for the monitors that retrain, unless a declared alarm listens to them', () => {
    const monitors = { drift: { then: 'retrain' }, quality: { then: 'retrain' }, unseen: { then: 'freeze' } }
    const added = (on: object[]) => modelOf({ monitors, on }).triggers.slice(on.length)
    const implied = { kind: 'alarm', coolDownMs: DAY_MS, perDay: 1 }
    expect(added([])).toEqual([{ ...implied, name: 'alarm-1', monitors: ['drift', 'quality'] }])
    expect(added([{ alarm: ['drift'] }])).toEqual([{ ...implied, name: 'alarm-2', monitors: ['quality'] }])
    expect(added([{ newData: 'a', name: 'alarm-1' }])).toMatchObject([{ name: 'alarm-2' }])
    expect(added([{ alarm: 'any' }])).toEqual([])
    expect(added([{ alarm: ['drift', 'quality'] }])).toEqual([])
  })

  const cases: [string, object, RegExp][] = [
    [
      'four fields',
      { on: { cron: '0 3 * *' } },
      /^models\.m\.on\.cron: '0 3 \* \*' is not a cron.*4 fields, not 5\. Fix/,
    ],
    ['an hour of 25', { on: [{ cron: '0 25 * * *' }] }, /^models\.m\.on\.0\.cron: .*its hour has '25'/],
    ['31 February', { on: { cron: '0 0 31 2 *' } }, /^models\.m\.on\.cron: .* never comes: no date matches it\. Fix: /],
    ['a number as cron', { on: { cron: 5 } }, /^models\.m\.on\.cron: must be five fields/],
    [
      'an unknown time zone',
      { on: { cron: '@daily', timeZone: 'Europe/Berln' } },
      /^models\.m\.on\.timeZone: 'Europe\/Berln' is not a known time zone/,
    ],
    [
      'an unknown way to catch up',
      { on: { cron: '@daily', catchUp: 'lst' } },
      /catchUp: must be 'none', 'last' or 'all'\. Fix: did you mean 'last'/,
    ],
    ['a field of another trigger', { on: { cron: '@daily', settle: '1s' } }, /^models\.m\.on\.settle: is not a field/],
    ['a typo', { on: { crn: '@daily' } }, /^models\.m\.on\.crn: is not a field\. Fix: did you mean "cron"/],
    [
      'an unknown monitor',
      { on: { alarm: ['drft'] } },
      /^models\.m\.on\.alarm\.0: must be 'drift', .*did you mean 'drift'/,
    ],
    [
      'a monitor without its list',
      { on: { alarm: 'drift' } },
      /^models\.m\.on\.alarm: must be 'any', or a list of monitors such as \['drift', 'quality'\]/,
    ],
    ['an empty list of monitors', { on: { alarm: [] } }, /^models\.m\.on\.alarm: must be 'any', or a list/],
    [
      'a monitor that is off',
      { on: { alarm: ['silence'] } },
      /^models\.m\.on\.alarm\.0: names the monitor 'silence', which is off\. Fix: declare it/,
    ],
    [
      'no firing at all',
      { on: { alarm: ['drift'], perDay: 0 } },
      /^models\.m\.on\.perDay: must be a whole number from 1 to 1000/,
    ],
    [
      'two of one name',
      {
        on: [
          { newData: 'a', name: 'x' },
          { cron: '@daily', name: 'x' },
        ],
      },
      /^models\.m\.on\.1\.name: is called 'x', as an earlier/,
    ],
    [
      'a name that another one would get',
      { on: [{ newData: 'a', name: 'cron-1' }, { cron: '@daily' }] },
      /^models\.m\.on\.1: is called 'cron-1'/,
    ],
  ]
  it.each(cases)('refuse %s', (_, model, expected) => {
    expect(modelRefusals(model)).toEqual([expect.stringMatching(expected)])
  })

  it('refuse any alarm where every monitor is off', () => {
    const names = ['drift', 'predictionDrift', 'missing', 'unseen', 'predictedActual', 'quality']
    const monitors = Object.fromEntries(names.map((name) => [name, false]))
    expect(modelOf({ monitors }).monitors.monitors).toEqual([])
    expect(modelRefusals({ monitors, on: { alarm: 'any' } })).toEqual([
      expect.stringMatching(/^models\.m\.on\.alarm: has no monitor to listen to/),
    ])
  })
})

describe('canaries and shadows', () => {
  const canary = (written: object) => modelOf({ release: { canary: written } }).release.canary

  it('take steps, weights with one soak, or the usual weights with another soak', () => {
    expect(canary({ steps: [{ weight: 5, soak: '1m' }, { weight: 20 }], soak: '2m' }).steps).toEqual([
      { weightPercent: 5, soakMs: 60_000 },
      { weightPercent: 20, soakMs: 120_000 },
    ])
    expect(canary({ weights: [1, 2.5], soak: '0s' }).steps).toEqual([
      { weightPercent: 1, soakMs: 0 },
      { weightPercent: 2.5, soakMs: 0 },
    ])
    expect(canary({ soak: '5s' }).steps.map((step) => step.soakMs)).toEqual([5_000, 5_000])
  })

  it('may lose as much as the gate allows, and nothing where the gate asks for more', () => {
    const loss = (gate: object, margins = {}) =>
      modelOf({ gate, release: { canary: { margins } } }).release.canary.margins.loss
    expect(loss({ margin: 0.01 })).toBe(0.01)
    expect(loss({ versusChampion: 'superiority', margin: 0.01 })).toBe(0)
    expect(loss({ margin: 0.01 }, { loss: 0.5 })).toBe(0.5)
  })

  it('read a shadow', () => {
    expect(modelOf({ release: { strategy: 'shadow', shadow: { share: 20, soak: '1h' } } }).release).toMatchObject({
      strategy: 'shadow',
      shadow: { sharePercent: 20, soakMs: 3_600_000, minRequests: 100 },
    })
  })

  const cases: [string, object, RegExp][] = [
    [
      'steps beside weights',
      { canary: { steps: [{ weight: 10 }], weights: [10] } },
      /canary\.weights: is there beside steps\. Fix: write one of the two/,
    ],
    ['weights that fall', { canary: { weights: [50, 10] } }, /canary\.weights\.1: does not grow: 10% after 50%/],
    [
      'equal steps',
      { canary: { steps: [{ weight: 10 }, { weight: 10 }] } },
      /canary\.steps\.1: does not grow: 10% after 10%/,
    ],
    ['all of the traffic as a step', { canary: { weights: [100] } }, /weights\.0: must be a number from 0\.1 to 99\.9/],
    ['a step without weight', { canary: { steps: [{ soak: '1m' }] } }, /steps\.0\.weight: is missing/],
    ['no steps', { canary: { steps: [] } }, /canary\.steps: must have a step at least/],
    [
      'less time than the soaks take',
      { canary: { weights: [1, 2, 3], soak: '1h', maxTime: '2h' } },
      /canary\.maxTime: is shorter than its 3 steps last together \(3 h\)/,
    ],
    [
      'a shadow without time',
      { shadow: { soak: '2m', maxTime: '1m' } },
      /shadow\.maxTime: is shorter than the soak \(2 min\)/,
    ],
    [
      'an error margin below 1',
      { canary: { margins: { errors: 0.5 } } },
      /margins\.errors: must be a number from 1 to 1000/,
    ],
    [
      'an unknown strategy',
      { strategy: 'canry' },
      /strategy: must be 'canary', 'shadow' or 'immediate'\. Fix: did you mean 'canary'/,
    ],
  ]
  it.each(cases)('refuse %s', (_, release, expected) => {
    expect(modelRefusals({ release })).toEqual([expect.stringMatching(expected)])
  })
})

describe('monitors', () => {
  it('are on, off, or on with what was said', () => {
    const model = modelOf({
      monitors: {
        window: '6h',
        labelDelay: '7d',
        drift: { psi: 0.1, then: 'retrain', columns: ['a'], severity: 'critical', runbook: 'look' },
        missing: true,
        unseen: false,
        traffic: { min: 10 },
        silence: { after: '6h', then: 'freeze' },
        modelAge: { after: '30d' },
      },
    })
    expect(model.monitors).toMatchObject({ windowMs: DAY_MS / 4, labelDelayMs: 7 * DAY_MS })
    expect(monitorOf(model, 'drift')).toMatchObject({
      limit: 0.1,
      response: 'retrain',
      columns: ['a'],
      severity: 'critical',
      runbook: 'look',
    })
    expect(monitorOf(model, 'missing')).toMatchObject({ limit: 0.05, raiseAfter: 2 })
    expect(monitorOf(model, 'unseen')).toBeUndefined()
    expect(monitorOf(model, 'traffic')).toMatchObject({ min: 10, max: null, limit: null })
    expect(monitorOf(model, 'silence')).toMatchObject({ limit: 21_600_000, response: 'freeze', raiseAfter: 1 })
    expect(monitorOf(model, 'modelAge')).toMatchObject({ limit: 30 * DAY_MS, clearAfter: 1 })
  })

  it('know the usual rise of a loss of probabilities only', () => {
    expect(monitorOf(modelOf({ gate: { loss: 'brier' } }), 'quality')).toMatchObject({ limit: 0.02 })
    expect(monitorOf(modelOf({ task: 'regression' }), 'quality')).toBeUndefined()
    expect(monitorOf(modelOf({ task: 'regression', monitors: { quality: { worseBy: 5 } } }), 'quality')).toMatchObject({
      limit: 5,
    })
  })

  const cases: [string, object, RegExp][] = [
    ['a typo', { monitors: { drft: true } }, /monitors\.drft: is not a field\. Fix: did you mean "drift"/],
    ['a limit of another monitor', { monitors: { drift: { ratio: 2 } } }, /monitors\.drift\.ratio: is not a field/],
    ['a bare number', { monitors: { drift: 0.3 } }, /monitors\.drift: must be true, false or \{ psi: 0\.25 \}/],
    ['traffic without bounds', { monitors: { traffic: {} } }, /traffic: has neither min nor max/],
    ['traffic with its bounds swapped', { monitors: { traffic: { min: 9, max: 3 } } }, /traffic: can't be kept: min 9/],
    ['silence without a time', { monitors: { silence: {} } }, /silence\.after: is missing/],
    ['an unknown response', { monitors: { drift: { then: 'rollback' } } }, /drift\.then: .*did you mean 'rollBack'/],
    [
      'drift without a holdout',
      { holdout: undefined, monitors: { drift: { psi: 0.2 } } },
      /monitors\.drift: has nothing to compare with: the baseline profile.*Fix: add holdout/,
    ],
    [
      'quality without a label',
      { label: undefined, monitors: { quality: true } },
      /monitors\.quality: needs a label\. Fix: add label: 'late'/,
    ],
    [
      'quality without a task',
      { task: undefined, monitors: { quality: true } },
      /monitors\.quality: needs a task\. Fix: add task: 'binary'/,
    ],
    [
      'quality of a number without a limit',
      { task: 'regression', monitors: { quality: true } },
      /monitors\.quality: needs worseBy: how much the mean squaredError may rise\. Fix: .*in squared units/,
    ],
    [
      'a column that is no feature',
      { features: ['distance', 'hour'], monitors: { missing: { columns: ['distnce'] } } },
      /missing\.columns\.0: names 'distnce', which is not among the features\. Fix: did you mean "distance"/,
    ],
  ]
  it.each(cases)('refuse %s', (_, model, expected) => {
    expect(modelRefusals(model)).toEqual([expect.stringMatching(expected)])
  })

  it('that are on by default ask for nothing', () => {
    expect(refusals({ name: 'p', models: { m: { train: 'x' } } })).toEqual([])
  })
})

describe('stability, retirement, fallback and alerts', () => {
  it('judge the spread by the margin, by a number, or not at all', () => {
    const spread = (gate: object) => modelOf({ gate }).gate.stability.maxSpread
    expect(spread({ margin: 0.01 })).toBe(0.04)
    expect(spread({ versusChampion: 'superiority' })).toBeNull()
    expect(spread({ stability: { maxSpread: 0.5 } })).toBe(0.5)
    expect(spread({ stability: { maxSpread: false } })).toBeNull()
  })

  it('turn policies of retirement off', () => {
    expect(
      modelOf({ retirement: { idle: false, maxAge: '90d', outdated: false, keepLast: 0 } }).retirement,
    ).toMatchObject({
      idleMs: null,
      maxAgeMs: 90 * DAY_MS,
      outdated: null,
      keepLast: 0,
    })
  })

  it('read each kind of fallback', () => {
    const fallback = (written: unknown) => modelOf({ serving: { fallback: written } }).serving.fallback
    expect(fallback('error')).toEqual({ kind: 'error' })
    expect(fallback({ constant: { p: 0.2, label: 'no' } })).toEqual({
      kind: 'constant',
      outputs: { p: 0.2, label: 'no' },
    })
    expect(fallback({ version: 'm@3' })).toEqual({ kind: 'version', version: 'm@3' })
  })

  it('read one webhook or several', () => {
    const webhooks = (webhook: unknown) =>
      projectOf({ name: 'p', models: { m: full }, alerts: { webhook } }).alerts.webhooks
    const [url, other] = ['https://a.example/x', 'http://127.0.0.1:99/y']
    expect(webhooks(url)).toEqual([{ url, minSeverity: 'warning', timeoutMs: 5_000 }])
    expect(webhooks([url, { url: other, minSeverity: 'critical', timeout: '1s' }])).toEqual([
      { url, minSeverity: 'warning', timeoutMs: 5_000 },
      { url: other, minSeverity: 'critical', timeoutMs: 1_000 },
    ])
    expect(webhooks([])).toEqual([])
  })

  const cases: [string, object, RegExp][] = [
    [
      'a fallback that is no version',
      { serving: { fallback: { version: 'latest' } } },
      /fallback\.version: must be a model and the number of a version, not 'latest'\. Fix: write for example version: 'm@3'/,
    ],
    [
      'a fallback to an unknown model',
      { serving: { fallback: { version: 'mm@3' } } },
      /fallback\.version: names the unknown model 'mm'\. Fix: did you mean 'm@3'|use one of m/,
    ],
    ['a fallback without outputs', { serving: { fallback: { constant: {} } } }, /fallback\.constant: is empty/],
    [
      'an output that is no value',
      { serving: { fallback: { constant: { p: [1] } } } },
      /fallback\.constant\.p: must be a number, a text, true or false/,
    ],
    [
      'an unknown fallback',
      { serving: { fallback: 'eror' } },
      /serving\.fallback: must be 'error', \{ constant: .*\} or \{ version: .*\}\. Fix: write for example fallback: 'error'/,
    ],
    [
      'a stability of one version',
      { gate: { stability: { versions: 1 } } },
      /stability\.versions: must be a whole number/,
    ],
    ['an idle time without unit', { retirement: { idle: '7' } }, /retirement\.idle: must be a duration/],
    ['a typo in retirement', { retirement: { keeplast: 3 } }, /retirement\.keeplast: .*did you mean "keepLast"/],
  ]
  it.each(cases)('refuse %s', (_, model, expected) => {
    expect(modelRefusals(model)).toEqual([expect.stringMatching(expected)])
  })

  it('refuse an address that is none', () => {
    const at = (webhook: unknown) => refusals({ name: 'p', models: { m: full }, alerts: { webhook } })
    for (const webhook of ['hooks.example', 'ftp://x', 'https://', 7])
      expect(at(webhook)).toEqual([expect.stringMatching(/^alerts\.webhook: must be an http or https address/)])
    expect(at({ url: 'x' })).toEqual([expect.stringMatching(/^alerts\.webhook\.url: must be an http or https address/)])
    const listed = { url: 'https://hooks.example', timeout: '1h' }
    expect(at([listed])).toEqual([
      expect.stringMatching(/^alerts\.webhook\.0\.timeout: must be a duration from .* to "1m"/),
    ])
    expect(at({ minSeverity: 'info' })).toEqual([expect.stringMatching(/^alerts\.webhook\.url: is missing/)])
  })
})

describe('service levels', () => {
  it('take an objective, false, or what was said of them', () => {
    const model = modelOf({
      slos: {
        availability: 0.9995,
        modelAge: false,
        latency: { within: '50ms' },
        runSuccess: { objective: 0.5, window: '7d', then: 'tell' },
      },
    })
    expect(levelOf(model, 'availability')).toMatchObject({ objective: 0.9995, effect: 'tell', windowMs: 30 * DAY_MS })
    expect(levelOf(model, 'modelAge')).toBeUndefined()
    expect(levelOf(model, 'latency')).toMatchObject({ objective: 0.99, thresholdMs: 50 })
    expect(levelOf(model, 'runSuccess')).toEqual({
      name: 'runSuccess',
      objective: 0.5,
      thresholdMs: null,
      windowMs: 7 * DAY_MS,
      effect: 'tell',
    })
  })

  it('promise more where more depends on it', () => {
    const objective = (importance: string, name: ServiceLevelName) => levelOf(modelOf({ importance }), name)!.objective
    for (const level of modelOf({}).serviceLevels) {
      expect(objective('critical', level.name)).toBeGreaterThanOrEqual(objective('normal', level.name))
      expect(objective('normal', level.name)).toBeGreaterThanOrEqual(objective('low', level.name))
    }
    expect(objective('critical', 'availability')).toBe(0.999)
  })

  it('measure no lead time where a person releases, unless asked to', () => {
    expect(levelOf(modelOf({ release: { when: 'manual' } }), 'leadTime')).toBeUndefined()
    expect(levelOf(modelOf({ release: { when: 'manual' }, slos: { leadTime: 0.5 } }), 'leadTime')).toBeDefined()
  })

  const cases: [string, object, RegExp][] = [
    [
      'an unknown level',
      { slos: { avalability: 0.9 } },
      /slos\.avalability: is not a field\. Fix: did you mean "availability"/,
    ],
    [
      'a percentage as text',
      { slos: { availability: '99.9%' } },
      /slos\.availability: must be an objective such as 0\.99, false, or/,
    ],
    ['an objective of 1', { slos: { availability: 1 } }, /slos\.availability: must be a number above 0 and below 1/],
    [
      'an objective in percent',
      { slos: { runSuccess: { objective: 99 } } },
      /runSuccess\.objective: must be a number above 0 and below 1/,
    ],
    ['a time for what has none', { slos: { runSuccess: { within: '1m' } } }, /runSuccess\.within: is not a field/],
    [
      'a latency between the counted bounds',
      { slos: { latency: { within: '250ms' } } },
      /latency\.within: must be one of the bounds.*Fix: write for example within: '500ms'/,
    ],
    [
      'an unknown effect',
      { slos: { latency: { then: 'freze' } } },
      /latency\.then: must be 'tell' or 'freeze'\. Fix: did you mean 'freeze'/,
    ],
  ]
  it.each(cases)('refuse %s', (_, model, expected) => {
    expect(modelRefusals(model)).toEqual([expect.stringMatching(expected)])
  })
})
