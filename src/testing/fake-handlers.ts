import { MillraceError } from '../../kernel/errors.ts'
import type { Handlers } from './handlers.ts'
import type {
  ClockView,
  EndpointView,
  EventView,
  GateView,
  LogChunk,
  ModelSummary,
  ReleaseView,
  Revision,
  RunView,
  StatusView,
  VersionView,
} from './schemas.ts'

/*
 * A control plane in memory for tests of the surface: one model that has been trained twice. Starting a run makes it
 * succeed step by step, each time it is looked at. Nothing here decides anything: what Millrace decides is tested elsewhere.
 */

const T0 = Date.UTC(2001, 1, 5, 12)

class NotFoundError extends MillraceError {
  constructor(what: string) {
    super({
      code: 'MR_TEST_NOT_FOUND',
      kind: 'not-found',
      message: `There is no ${what}.`,
      fix: "Run 'millrace models list'.",
    })
  }
}

class ConflictError extends MillraceError {
  constructor(message: string) {
    super({ code: 'MR_TEST_CONFLICT', kind: 'conflict', message, fix: 'Look at the state first.' })
  }
}

export interface FakeControlPlane {
  handlers: Handlers
  /** Every call that changed something: `runs.start` and its input. */
  calls: { procedure: string; input: unknown }[]
  /** What a started run comes to. */
  outcome: 'released' | 'spare' | 'gate-failed' | 'run-failed' | 'awaiting-approval'
}

export function fakeControlPlane(): FakeControlPlane {
  const calls: FakeControlPlane['calls'] = []
  const fake: FakeControlPlane = { calls, outcome: 'released', handlers: undefined as unknown as Handlers }
  const did = (procedure: string, input: unknown) => calls.push({ procedure, input })
  const holds: ClockView['holds'] = []
  let looks = 0

  const version = (ref: string): VersionView => {
    if (ref === 'late-flight@champion' || ref === 'late-flight@2')
      return { ...fakeVersion(2), ...stateOf[fake.outcome] }
    if (ref === 'late-flight@1') return fakeVersion(1)
    throw new NotFoundError(`version ${ref}`)
  }
  const model = (name: string): ModelSummary => {
    if (name !== 'late-flight') throw new NotFoundError(`model ${name}`)
    return fakeModel()
  }
  const run = (id: string): RunView => {
    if (id !== 'run-2' && id !== 'run-3') throw new NotFoundError(`run ${id}`)
    return id === 'run-2' ? fakeRun('run-2', 9, 'released') : fakeRun('run-3', looks++, fake.outcome)
  }
  const clock = (): ClockView => ({ calendarMs: T0, epochMs: T0, rehearsed: false, holds })

  fake.handlers = {
    project: {
      get: () => ({
        revision: fakeRevision,
        source: 'project: flights\n',
        project: {
          name: 'flights',
          root: '/p',
          snapshotIgnore: [],
          gateway: { host: '127.0.0.1', port: 7080 },
          storage: { minFreeBytes: 0 },
          models: [],
        },
      }),
      apply: (input) => {
        did('project.apply', input)
        return { ...fakeRevision, by: input.by, changes: [`model ${input.project.models[0]?.name}: added`] }
      },
      revisions: () => [fakeRevision],
    },
    models: {
      list: () => [fakeModel()],
      get: ({ model: name }) => ({
        ...model(name),
        aliases: [{ alias: 'champion', version: 'late-flight@2', sinceMs: T0 }],
        recent: [fakeVersion(2), fakeVersion(1)],
      }),
    },
    versions: {
      list: ({ model: name, limit }) => (model(name), [fakeVersion(2), fakeVersion(1)].slice(0, limit)),
      get: ({ ref }) => version(ref),
      liveAt: ({ model: name, atMs }) => (
        model(name),
        atMs < T0
          ? { version: null, fromMs: null, untilMs: T0, why: null }
          : { version: 'late-flight@2', fromMs: T0, untilMs: null, why: 'released' }
      ),
      import: (input) => {
        did('versions.import', input)
        return fakeVersion(2)
      },
    },
    runs: {
      list: () => [fakeRun('run-2', 9, 'released')],
      get: ({ id }) => run(id),
      start: (input) => {
        model(input.model)
        did('runs.start', input)
        looks = 0
        return fakeRun('run-3', 0, fake.outcome)
      },
      cancel: (input) => {
        did('runs.cancel', input)
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
    },
    gates: {
      get: ({ ref }) => version(ref).gate!,
      approve: (input) => {
        did('gates.approve', input)
        return version(input.ref)
      },
      reject: (input) => {
        did('gates.reject', input)
        return version(input.ref)
      },
    },
    releases: {
      list: () => [fakeRelease],
      get: ({ id }) => {
        if (id !== fakeRelease.id) throw new NotFoundError(`release ${id}`)
        return fakeRelease
      },
      create: (input) => {
        did('releases.create', input)
        if (input.ref === 'late-flight@2') throw new ConflictError('late-flight@2 is live already.')
        return fakeRelease
      },
      rollback: (input) => {
        did('releases.rollback', input)
        return { ...fakeRelease, kind: 'rollback' }
      },
    },
    endpoints: { list: () => [fakeEndpoint] },
    predictionLog: {
      status: () => fakeStatus(clock()).reconciliation,
      query: ({ sql, limit }) => ({
        columns: [
          { name: 'hour', type: 'INTEGER' },
          { name: 'n', type: 'BIGINT' },
        ],
        rows: [
          [8, 120],
          [9, null],
        ].slice(0, limit),
        truncated: limit < 2,
        manifest: sql.length,
        elapsedMs: 12,
      }),
    },
    status: { get: () => fakeStatus(clock()) },
    events: {
      list: ({ afterSeq }) => fakeEvents.filter((e) => e.seq > afterSeq),
      watch: async function* (_input, { signal }): AsyncGenerator<EventView> {
        for (const event of fakeEvents) {
          if (signal.aborted) return
          yield event
        }
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      },
    },
    clock: {
      get: clock,
      set: (input) => {
        did('clock.set', input)
        throw new Error('the disk is on fire')
      },
      hold: ({ by, why }) => (holds.push({ by, why, sinceMs: T0 }), clock()),
      release: ({ by }) => (holds.splice(0, holds.length, ...holds.filter((h) => h.by !== by)), clock()),
    },
    serviceLevels: { get: () => fakeStatus(clock()).serviceLevels },
  }
  return fake
}

const stateOf: Record<FakeControlPlane['outcome'], Partial<VersionView>> = {
  released: {},
  spare: { release: 'spare', releaseWhy: 'not better than late-flight@1' },
  'gate-failed': { status: 'failed', release: 'none' },
  'run-failed': {},
  'awaiting-approval': { release: 'awaiting-approval', releaseWhy: 'no label is declared' },
}

const fakeRevision: Revision = {
  revision: 1,
  project: 'flights',
  digest: `sha256:${'a'.repeat(64)}`,
  sourcePath: '/p/millrace.yaml',
  by: 'ann',
  appliedAtMs: T0,
  models: ['late-flight'],
  changes: [],
}

function fakeGate(number: number): GateView {
  return {
    version: `late-flight@${number}`,
    verdict: 'passed',
    why: 'better than late-flight@1 by 0.012 log loss',
    champion: number === 2 ? 'late-flight@1' : null,
    checks: [
      {
        name: 'beats-constant',
        verdict: 'passed',
        why: 'log loss 0.44 against 0.50',
        figures: { difference: -0.06, low: -0.07, high: -0.05, rows: 5000 },
      },
      {
        name: 'champion',
        verdict: 'passed',
        why: 'interval below zero',
        figures: { difference: -0.012, low: -0.016, high: -0.008 },
      },
    ],
    metrics: { auc: 0.717, logLoss: 0.4437 },
    championMetrics: number === 2 ? { auc: 0.69, logLoss: 0.4557 } : null,
    rows: 5000,
    approval: null,
    decidedAtMs: T0,
  }
}

function fakeVersion(number: 1 | 2): VersionView {
  return {
    ref: `late-flight@${number}`,
    model: 'late-flight',
    number,
    status: 'passed',
    why: null,
    aliases: number === 2 ? ['champion'] : ['previous'],
    approval: null,
    release: number === 2 ? 'live' : 'warm',
    releaseWhy: null,
    metrics: { auc: 0.717, logLoss: 0.4437 },
    createdAtMs: T0,
    liveSinceMs: number === 2 ? T0 : null,
    gate: fakeGate(number),
    lineage: {
      run: 'run-2',
      importedFrom: null,
      revision: 1,
      codeDigest: null,
      params: { depth: 5 },
      seed: 1,
      asOfMs: T0,
      inputs: [{ step: 'train', name: 'rows', digest: `sha256:${'b'.repeat(64)}` }],
      environments: [{ step: 'train', environment: 'inherit', reproducible: false }],
      holdoutDigest: null,
    },
    signature: {
      inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, 2], columns: ['age', 'income'] }],
      outputs: [{ name: 'p', datatype: 'FP32', shape: [-1, 2], columns: null }],
    },
    artifacts: [{ name: 'model', digest: `sha256:${'c'.repeat(64)}`, sizeBytes: 12_345 }],
    deployment: {
      id: `deployment-${number}`,
      status: 'ready',
      why: null,
      replicasReady: 2,
      replicasWanted: 2,
      weightPercent: number === 2 ? 100 : 0,
    },
    history: [{ alias: 'champion', fromMs: T0, untilMs: null, why: 'released' }],
  }
}

function fakeModel(): ModelSummary {
  return {
    name: 'late-flight',
    endpoint: 'late-flight',
    importance: 'normal',
    task: 'binary',
    paused: false,
    champion: 'late-flight@2',
    versions: 2,
    newest: fakeVersion(2),
    blockers: [{ what: 'label', why: 'no label is declared', fix: "Add label: 'late' to the model." }],
  }
}

function fakeRun(id: string, look: number, outcome: FakeControlPlane['outcome']): RunView {
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

const fakeRelease: ReleaseView = {
  id: 'release-1',
  kind: 'release',
  version: 'late-flight@2',
  endpoint: 'late-flight',
  previous: 'late-flight@1',
  status: 'released',
  why: null,
  cause: 'gate passed',
  strategy: 'immediate',
  createdAtMs: T0,
  endedAtMs: T0 + 900,
  firstAnswerAtMs: T0 + 950,
  leadTimeMs: 2_950,
  steps: [{ name: 'preflight', status: 'done', why: '50 golden rows equal', startedAtMs: T0, endedAtMs: T0 + 500 }],
}

const fakeEndpoint: EndpointView = {
  name: 'late-flight',
  model: 'late-flight',
  url: 'http://127.0.0.1:7080/v2/models/late-flight/infer',
  port: 7080,
  logMode: 'durable',
  state: 'serving',
  why: null,
  members: [
    { version: 'late-flight@2', deployment: 'deployment-2', weightPercent: 100, replicasReady: 2, replicasWanted: 2 },
  ],
  requests: 1_204,
  failed: 0,
}

const fakeEvents: EventView[] = [
  {
    seq: 1,
    entity: 'run',
    entityId: 'run-2',
    from: null,
    to: 'queued',
    cause: 'manual: by hand',
    atMs: T0,
    calendarMs: T0,
    detail: { model: 'late-flight' },
  },
  {
    seq: 2,
    entity: 'run',
    entityId: 'run-2',
    from: 'queued',
    to: 'running',
    cause: 'its turn',
    atMs: T0,
    calendarMs: T0,
    detail: null,
  },
]

function fakeStatus(clock: ClockView): StatusView {
  return {
    project: { name: 'flights', revision: 1, root: '/p' },
    controlPlane: { version: '0.1.0', pid: 7, startedAtMs: T0, dataDir: '/p/.millrace', store: 'pglite', apiUrl: null },
    clock,
    processes: [
      { id: 'gateway', kind: 'gateway', pid: 8, state: 'running', startedAtMs: T0, restarts: 1, why: 'SIGKILL' },
    ],
    endpoints: [fakeEndpoint],
    replicas: [
      {
        id: 'replica-1',
        deployment: 'deployment-2',
        version: 'late-flight@2',
        state: 'ready',
        why: null,
        pid: 9,
        httpPort: null,
        inFlight: 0,
      },
    ],
    runs: [],
    releases: [],
    waiting: [{ version: 'late-flight@3', why: 'inconclusive: 40 rows' }],
    triggers: [
      {
        id: 'newData:data/*.csv',
        model: 'late-flight',
        kind: 'newData',
        state: 'watching',
        why: 'no new files',
        lastFiredAtMs: T0,
        lastRun: 'run-2',
        nextAtMs: null,
      },
    ],
    reconciliation: {
      answered: 1_204,
      logged: 1_204,
      sampledOut: 0,
      dropped: 0,
      inLake: 1_200,
      inSpool: 4,
      labels: 800,
      labelsMatched: 799,
      labelsUnmatched: 1,
      lagMs: 900,
      manifest: 12,
      agrees: true,
      why: null,
    },
    serviceLevels: [
      {
        phase: 'run',
        indicator: 'run success',
        model: 'late-flight',
        value: 1,
        unit: 'ratio',
        objective: 0.95,
        met: true,
        count: 2,
        windowMs: 604_800_000,
      },
    ],
    disk: { freeBytes: 5e9, minFreeBytes: 1e9, low: false },
    warnings: [{ text: 'late-flight has no label', fix: 'Declare it.' }],
  }
}
