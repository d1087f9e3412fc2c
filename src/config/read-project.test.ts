import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import type { z } from 'zod'
import type { ProjectInput } from './input.ts'
import { missingForAutomation } from './missing-for-automation.ts'
import type { ModelConfig, Project } from './project.ts'
import { readProject } from './read-project.ts'
import { projectJsonSchema } from './schema.ts'
import type { projectSchema } from './schema.ts'

const projectOf = (written: unknown): Project => {
  const read = readProject(written, '/work')
  if (read.kind === 'refused') throw new Error(read.findings.map((f) => `${f.path.join('.')}: ${f.message}`).join('\n'))
  return read.project
}
const modelOf = (model: object): ModelConfig => projectOf({ name: 'p', models: { m: model } }).models[0]!
const refusals = (written: unknown): string[] => {
  const read = readProject(written, '/work')
  return read.kind === 'project' ? [] : read.findings.map((f) => `${f.path.join('.')}: ${f.message}. Fix: ${f.fix}`)
}
const modelRefusals = (model: object) => refusals({ name: 'p', models: { m: model } })

const DAY_MS = 86_400_000
const usual = {
  min: null,
  max: null,
  minRows: 200,
  alpha: 0.001,
  columns: [],
  severity: 'warning',
  response: 'tell',
  raiseAfter: 2,
  clearAfter: 2,
  runbook: null,
}
const month = { windowMs: 30 * DAY_MS, effect: 'tell' }

describe('defaults', () => {
  it('asks for nothing but a name and a training command', () => {
    expect(modelOf({ train: 'python train.py' })).toEqual({
      name: 'm',
      endpoint: 'm',
      importance: 'normal',
      task: null,
      label: null,
      positive: null,
      holdout: null,
      trainingRows: null,
      features: null,
      scoreOutput: null,
      triggers: [],
      pipeline: {
        steps: [
          {
            name: 'train',
            command: 'python train.py',
            args: true,
            workingDir: '.',
            needs: [],
            inputs: [],
            environment: { kind: 'inherit' },
            env: {},
            timeoutMs: 3_600_000,
            retries: 0,
            backoffMs: 10_000,
            logLimitBytes: 10_000_000,
          },
        ],
        params: {},
        seed: 0,
      },
      gate: {
        thresholds: [],
        loss: 'logLoss',
        comparison: 'nonInferiority',
        margin: 0.005,
        alpha: 0.05,
        resamples: 2_000,
        cluster: null,
        minRows: 200,
        minClusters: 10,
        stability: { versions: 5, maxSpread: 0.02 },
      },
      release: {
        when: { kind: 'better' },
        strategy: 'canary',
        canary: {
          steps: [
            { weightPercent: 10, soakMs: 600_000 },
            { weightPercent: 50, soakMs: 600_000 },
          ],
          minRequests: 100,
          minLabels: 0,
          maxTimeMs: 86_400_000,
          alpha: 0.01,
          margins: { errors: 1, latency: 1.5, predictionShift: 0.25, loss: 0.005 },
        },
        shadow: { sharePercent: 100, soakMs: 600_000, minRequests: 100, minLabels: 0, maxTimeMs: 86_400_000 },
        preflight: { goldenRows: 100, tolerance: 0.00001, timeoutMs: 60_000 },
      },
      serving: {
        replicas: { min: 2, max: 2, targetConcurrency: 8, idleMs: 600_000, wakeMs: 10_000 },
        timeoutMs: 10_000,
        bodyLimitBytes: 16_000_000,
        drainMs: 30_000,
        maxBatchRows: 1_024,
        isolate: 'auto',
        fallback: { kind: 'error' },
        sticky: null,
        rules: [],
        limits: { concurrency: null, perCaller: null },
        server: null,
        enrich: [],
        prepare: null,
      },
      log: { mode: 'relaxed', samplePercent: 100 },
      monitors: {
        windowMs: DAY_MS,
        labelDelayMs: DAY_MS,
        monitors: [
          { ...usual, name: 'drift', limit: 0.25 },
          { ...usual, name: 'predictionDrift', limit: 0.25 },
          { ...usual, name: 'missing', limit: 0.05 },
          { ...usual, name: 'unseen', limit: 0.05 },
          { ...usual, name: 'predictedActual', limit: 1.25 },
          { ...usual, name: 'quality', limit: 0.05 },
        ],
      },
      retirement: {
        keepLast: 5,
        maxAgeMs: null,
        idleMs: 7 * DAY_MS,
        superseded: true,
        deleteAfterMs: 90 * DAY_MS,
        pinMs: 30 * DAY_MS,
        outdated: { windowMs: 7 * DAY_MS, minRows: 500, margin: 0 },
      },
      serviceLevels: [
        { ...month, name: 'triggerPunctuality', objective: 0.95, thresholdMs: 300_000 },
        { ...month, name: 'runSuccess', objective: 0.9, thresholdMs: null, effect: 'freeze' },
        { ...month, name: 'evaluationValidity', objective: 0.9, thresholdMs: null, effect: 'freeze' },
        { ...month, name: 'leadTime', objective: 0.9, thresholdMs: 3_600_000 },
        { ...month, name: 'availability', objective: 0.995, thresholdMs: null },
        { ...month, name: 'latency', objective: 0.99, thresholdMs: 200 },
        { ...month, name: 'logLag', objective: 0.99, thresholdMs: 30_000 },
        { ...month, name: 'monitorFreshness', objective: 0.95, thresholdMs: 21_600_000 },
        { ...month, name: 'modelAge', objective: 0.95, thresholdMs: 90 * DAY_MS },
        { ...month, name: 'retirementSafety', objective: 0.99, thresholdMs: null },
      ],
    })
  })

  it('names what is missing for automatic release', () => {
    expect(missingForAutomation(modelOf({ train: 'x' }))).toEqual(['holdout', 'label', 'task'])
    expect(missingForAutomation(modelOf({ train: 'x', task: 'binary', label: 'y', holdout: 'h.csv' }))).toEqual([])
  })

  it('compares by what suits the task', () => {
    expect(modelOf({ train: 'x', task: 'regression' }).gate).toMatchObject({
      loss: 'squaredError',
      comparison: 'superiority',
      margin: 0,
    })
    expect(modelOf({ train: 'x', task: 'binary', gate: { loss: 'brier' } }).gate).toMatchObject({
      comparison: 'nonInferiority',
      margin: 0.002,
    })
    expect(modelOf({ train: 'x', gate: { versusChampion: 'superiority' } }).gate.margin).toBe(0)
  })

  it('keeps every given field and leaves none open, whatever is left out', () => {
    const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
    const model = fc.record({
      train: fc.constant('x'),
      task: maybe(fc.constant('binary')),
      label: maybe(fc.constant('y')),
      seed: maybe(fc.nat()),
      positive: maybe(fc.oneof(fc.string(), fc.boolean(), fc.integer())),
      params: maybe(
        fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.oneof(fc.string(), fc.boolean(), fc.integer())),
      ),
      serving: maybe(
        fc.record({ replicas: maybe(fc.integer({ min: 1, max: 64 })), timeout: maybe(fc.constant('3s')) }),
      ),
      gate: maybe(
        fc.record({
          alpha: maybe(fc.constantFrom(0.01, 0.1)),
          cluster: maybe(fc.constant('day')),
          margin: maybe(fc.constant(0.01)),
        }),
      ),
      log: maybe(fc.record({ sample: maybe(fc.integer({ min: 0, max: 100 })) })),
    })
    fc.assert(
      fc.property(model, (written) => {
        const read = modelOf(written)
        expect(openFields(read)).toEqual([])
        expect(read.pipeline).toMatchObject({ seed: written.seed ?? 0, params: written.params ?? {} })
        expect(read.positive).toBe(written.positive === undefined ? null : String(written.positive))
        const replicas = written.serving?.replicas ?? 2
        expect(read.serving.replicas).toMatchObject({ min: replicas, max: replicas })
        expect(read.serving.timeoutMs).toBe(written.serving?.timeout === undefined ? 10_000 : 3_000)
        expect(read.gate).toMatchObject({
          alpha: written.gate?.alpha ?? 0.05,
          cluster: written.gate?.cluster ?? null,
          margin: written.gate?.margin ?? 0.005,
        })
        expect(read.log.samplePercent).toBe(written.log?.sample ?? 100)
      }),
    )
  })
})

/** Paths of undefined values. */
function openFields(value: unknown, path = ''): string[] {
  if (value === undefined) return [path]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => openFields(inner, `${path}.${key}`))
}

describe('a full configuration', () => {
  it('becomes a project', () => {
    const model = modelOf({
      task: 'binary',
      label: 'late',
      positive: 1,
      holdout: { sql: 'select 1' },
      steps: {
        features: {
          run: 'python features.py',
          dir: 'features',
          inputs: { flights: 'data/*.parquet', recent: { sql: 'select 2' } },
        },
        train: {
          run: 'python train.py',
          inputs: { rows: 'steps.features/rows.parquet', all: 'steps.features' },
          env: { THREADS: 2 },
          environment: 'inherit',
        },
        report: {
          run: 'python report.py',
          needs: ['train'],
          timeout: '90s',
          retries: 2,
          backoff: '1s',
          logLimit: '1MB',
          args: false,
        },
      },
      environment: { python: '3.11', lock: 'requirements.lock' },
      on: [{ newData: 'data/*.parquet', atLeast: 2, settle: '2s' }],
      gate: { metrics: { auc: { min: 0.7 }, brier: { max: 0.2 } } },
      release: { when: { staleAfter: '7d' } },
    })
    expect(model.pipeline.steps).toMatchObject([
      {
        name: 'features',
        workingDir: 'features',
        needs: [],
        environment: { kind: 'python', python: '3.11', lock: 'requirements.lock' },
        inputs: [
          { name: 'flights', source: { kind: 'file', path: 'data/*.parquet' } },
          { name: 'recent', source: { kind: 'sql', sql: 'select 2' } },
        ],
      },
      {
        name: 'train',
        needs: ['features'],
        environment: { kind: 'inherit' },
        env: { THREADS: '2' },
        inputs: [
          { name: 'rows', source: { kind: 'step', step: 'features', file: 'rows.parquet' } },
          { name: 'all', source: { kind: 'step', step: 'features', file: null } },
        ],
      },
      {
        name: 'report',
        needs: ['train'],
        timeoutMs: 90_000,
        retries: 2,
        backoffMs: 1_000,
        logLimitBytes: 1_000_000,
        args: false,
      },
    ])
    expect(model).toMatchObject({
      positive: '1',
      holdout: { kind: 'sql', sql: 'select 1' },
      triggers: [{ kind: 'newData', path: 'data/*.parquet', minFiles: 2, settleMs: 2_000 }],
      gate: {
        thresholds: [
          { metric: 'auc', min: 0.7, max: null },
          { metric: 'brier', min: null, max: 0.2 },
        ],
      },
      release: { when: { kind: 'staleAfter', ageMs: 604_800_000 } },
    })
  })

  it('is typed for editors as the schema reads it', () => {
    expectTypeOf<ProjectInput>().toExtend<z.input<typeof projectSchema>>()
    expectTypeOf<z.input<typeof projectSchema>>().toExtend<ProjectInput>()
  })

  it('has a JSON Schema that refuses unknown fields too', () => {
    expect(projectJsonSchema()).toMatchObject({
      type: 'object',
      required: ['name', 'models'],
      additionalProperties: false,
    })
  })
})

describe('what one field refuses', () => {
  const cases: [string, object, string][] = [
    ['a typo', { train: 'x', holdot: 'h.csv' }, 'models.m.holdot: is not a field. Fix: did you mean "holdout"?'],
    [
      'a field in the wrong place',
      { train: 'x', margin: 1 },
      'models.m.margin: is not a field here. Fix: move it to models.m.gate.margin.',
    ],
    [
      'a planned field',
      { train: 'x', quarantine: {} },
      'models.m.quarantine: is planned, not available in this version. Fix: remove quarantine; docs/reference/config.md lists what there is.',
    ],
    [
      'a planned trigger, without asking for another',
      { train: 'x', on: { backfill: '2020' } },
      'models.m.on.backfill: is planned, not available in this version. Fix: remove backfill; docs/reference/config.md lists what there is.',
    ],
    [
      'a planned value',
      { train: 'x', release: { strategy: 'join' } },
      `models.m.release.strategy: is planned, not available in this version. Fix: write for example strategy: 'canary'.`,
    ],
    [
      'a planned environment',
      { train: 'x', environment: { image: 'x' } },
      'models.m.environment.image: is planned, not available in this version. Fix: remove image; docs/reference/config.md lists what there is.',
    ],
    [
      'a typo in a union',
      { train: 'x', holdout: { sq: 'select' } },
      'models.m.holdout.sq: is not a field. Fix: did you mean "sql"?',
    ],
    [
      'a typo in a choice',
      { train: 'x', release: { when: 'bettr' } },
      `models.m.release.when: must be 'better', 'always' or 'manual'. Fix: did you mean 'better'?`,
    ],
    [
      'an unknown metric',
      { train: 'x', gate: { metrics: { acuracy: { min: 1 } } } },
      'models.m.gate.metrics.acuracy: is not a field. Fix: did you mean "accuracy"?',
    ],
    [
      'a bare number for bounds',
      { train: 'x', gate: { metrics: { auc: 0.7 } } },
      'models.m.gate.metrics.auc: must be bounds such as { min: 0.7 }. Fix: write for example auc: { min: 0.7 }.',
    ],
    [
      'a number for a duration',
      { train: 'x', serving: { timeout: 10 } },
      `models.m.serving.timeout: must be a duration from "10ms" to "10m", written as a number and ms, s, m, h, d or w. Fix: write for example timeout: '10s'.`,
    ],
    [
      'a duration out of range',
      { train: 'x', serving: { timeout: '2h' } },
      `models.m.serving.timeout: must be a duration from "10ms" to "10m". Fix: write for example timeout: '10s'.`,
    ],
    [
      'half a replica',
      { train: 'x', serving: { replicas: 1.5 } },
      'models.m.serving.replicas: must be a whole number from 1 to 64, or { min: 1, max: 8 }. Fix: write for example replicas: 2.',
    ],
    [
      'an error rate of 3',
      { train: 'x', gate: { alpha: 3 } },
      'models.m.gate.alpha: must be a number from 0.0001 to 0.5. Fix: write for example alpha: 0.05.',
    ],
    [
      'a margin that is no number',
      { train: 'x', gate: { margin: 'abc' } },
      'models.m.gate.margin: must be a number of at least 0. Fix: write for example margin: 0.005.',
    ],
    [
      'a file that is no table',
      { train: 'x', holdout: 'h.xlsx' },
      `models.m.holdout: must be a .parquet or .csv file such as "data/holdout.parquet", or { sql: "select …" }. Fix: write for example holdout: 'data/holdout.parquet'.`,
    ],
    [
      'a lock outside the project',
      { train: 'x', environment: { node: '24', lock: '../package-lock.json' } },
      `models.m.environment.lock: must be a lock file inside the project's folder. Fix: write for example lock: 'package-lock.json'.`,
    ],
    [
      'a version that YAML read as a number',
      { train: 'x', environment: { python: 3.1, lock: 'l' } },
      `models.m.environment.python: must be a version in quotes, such as "3.11". Fix: write for example python: '3.11'.`,
    ],
    [
      'an empty command',
      { train: ' ' },
      `models.m.train: must be a shell command. Fix: write for example train: 'python train.py'.`,
    ],
    [
      'a variable of Millrace',
      { train: { run: 'x', env: { MILLRACE_SEED: '1' } } },
      'models.m.train.env.MILLRACE_SEED: its name "MILLRACE_SEED" must not start with MILLRACE_, which is set by Millrace itself. Fix: choose another name.',
    ],
    [
      'an odd parameter',
      { train: 'x', params: { 'a b': 1 } },
      'models.m.params.a b: its name "a b" must be up to 64 letters, digits, "_", "-" and ".", starting with a letter. Fix: call it "a_b".',
    ],
    [
      'null, as YAML gives for an empty field',
      { train: 'x', label: null },
      `models.m.label: must be the name of a column. Fix: write for example label: 'late'.`,
    ],
  ]
  it.each(cases)('%s', (_, model, expected) => {
    expect(modelRefusals(model)).toEqual([expected])
  })

  it('names of models that would not be safe in paths and URLs, with one that is', () => {
    for (const name of ['Late_Flight', '../x', 'a b', '-a', 'a-', '1a', 'x'.repeat(41), '']) {
      expect(refusals({ name: 'p', models: { [name]: { train: 'x' } } })[0]).toContain('lower-case letters')
    }
    expect(refusals({ name: 'p', models: { Late_Flight: { train: 'x' } } })[0]).toContain('call it "late-flight"')
  })

  it('something else than an object', () => {
    for (const written of [null, [], 'x', 3]) expect(refusals(written)[0]).toMatch(/^: must be an object/)
  })

  it('an own field called __proto__', () => {
    expect(
      refusals(JSON.parse('{"name": "p", "models": {"__proto__": {"train": "x"}, "m": {"train": "x"}}}')),
    ).not.toEqual([])
    expect(refusals(JSON.parse('{"name": "p", "models": {"m": {"train": "x"}}, "__proto__": {}}'))).not.toEqual([])
  })
})

describe('what does not fit together', () => {
  const cases: [string, object, RegExp][] = [
    ['no training command', { task: 'binary' }, /^models\.m: has no training command.*add train/],
    ['train beside steps', { train: 'x', steps: { a: 'x' } }, /^models\.m\.train: is there beside steps/],
    ['no steps', { steps: {} }, /^models\.m\.steps: is empty/],
    [
      'an unknown need',
      { steps: { features: 'x', train: { run: 'x', needs: ['feature'] } } },
      /^models\.m\.steps\.train\.needs\.0: names the unknown step 'feature'. Fix: did you mean "features"/,
    ],
    [
      'an input of an unknown step',
      { train: { run: 'x', inputs: { a: 'steps.b/c' } } },
      /^models\.m\.train\.inputs\.a: names the unknown step 'b'/,
    ],
    [
      'a cycle through needs and inputs',
      {
        steps: {
          a: { run: 'x', needs: ['b'] },
          b: { run: 'x', inputs: { i: 'steps.c' } },
          c: { run: 'x', needs: ['a'] },
        },
      },
      /a needs b needs c needs a/,
    ],
    ['a step that needs itself', { steps: { a: { run: 'x', needs: ['a'] } } }, /a needs a/],
    ['a need listed twice', { steps: { a: 'x', b: { run: 'x', needs: ['a', 'a'] } } }, /needs\.1: is listed twice/],
    [
      'parameters that share a variable',
      { train: 'x', params: { 'a-b': 1, a_b: 2 } },
      /becomes MILLRACE_PARAM_A_B, as 'a-b' does/,
    ],
    ['inputs that share a variable', { train: { run: 'x', inputs: { a: 'x', A: 'y' } } }, /becomes MILLRACE_INPUT_A/],
    ['the label among the features', { train: 'x', label: 'y', features: ['x', 'y'] }, /features\.1: is the label/],
    ['a feature listed twice', { train: 'x', features: ['x', 'x'] }, /features\.1: is listed twice/],
    ['a positive value for regression', { train: 'x', task: 'regression', positive: 1 }, /positive: has no meaning/],
    [
      'two triggers on one glob',
      { train: 'x', on: [{ newData: 'a' }, { newData: 'a' }] },
      /on\.1\.newData: is watched/,
    ],
    [
      'a metric of the other task',
      { train: 'x', task: 'regression', gate: { metrics: { auc: { min: 0.7 } } } },
      /auc: is no metric of task 'regression'. Fix: use one of rmse, mae, mape, r2/,
    ],
    [
      'a bound out of reach',
      { train: 'x', gate: { metrics: { auc: { min: 70 } } } },
      /auc\.min: is out of reach: auc lies between 0 and 1/,
    ],
    [
      'bounds that exclude each other',
      { train: 'x', gate: { metrics: { brier: { min: 0.3, max: 0.2 } } } },
      /brier: can't be kept/,
    ],
    ['empty bounds', { train: 'x', gate: { metrics: { r2: {} } } }, /r2: has neither/],
    [
      'a loss of the other task',
      { train: 'x', task: 'binary', gate: { loss: 'squaredError' } },
      /loss: does not fit task 'binary'/,
    ],
    [
      'non-inferiority without a margin where none can be guessed',
      { train: 'x', task: 'regression', gate: { versusChampion: 'nonInferiority' } },
      /versusChampion: needs a margin/,
    ],
    ['non-inferiority with no room', { train: 'x', gate: { margin: 0 } }, /margin: needs a margin above 0/],
    ['a margin beyond the loss', { train: 'x', gate: { margin: 1 } }, /margin: must be below 1/],
  ]
  it.each(cases)('%s', (_, model, expected) => {
    expect(modelRefusals(model)).toEqual([expect.stringMatching(expected)])
  })

  it('two models at one endpoint', () => {
    expect(refusals({ name: 'p', models: { a: { train: 'x' }, b: { train: 'x', endpoint: 'a' } } })).toEqual([
      expect.stringMatching(/^models\.b\.endpoint: answers at endpoint 'a', as model 'a' does/),
    ])
  })

  it('no models, and names that the lake uses', () => {
    expect(refusals({ name: 'p', models: {} })[0]).toMatch(/^models: is empty/)
    expect(refusals({ name: 'p', models: { labels: { train: 'x' } } })[0]).toMatch(/table of the lake/)
  })
})

it('survives anything as a configuration', () => {
  fc.assert(
    fc.property(fc.object({ maxDepth: 4, withNullPrototype: false }), fc.object({ maxDepth: 3 }), (any, model) => {
      expect(readProject(any, '/work').kind).toBe('refused')
      readProject({ name: 'p', models: { m: { train: 'x', ...model } } }, '/work')
    }),
  )
})
