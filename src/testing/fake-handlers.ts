import { MillraceError } from '../kernel/errors.ts'
import type { CallerView, PinView } from '../surface/api/caller-schemas.ts'
import type { CanaryView } from '../surface/api/canary-schemas.ts'
import type { Handlers } from '../surface/api/handlers.ts'
import type { AlertView, MonitorView } from '../surface/api/monitoring-schemas.ts'
import type { FreezeView, RetirementRow } from '../surface/api/retirement-schemas.ts'
import type { BackfillView, TriggerDetail, TriggerEventView } from '../surface/api/triggers-schemas.ts'
import type { BudgetView } from '../surface/api/service-level-schemas.ts'
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
} from '../surface/api/schemas.ts'

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
          gateway: {
            host: '127.0.0.1',
            port: 7080,
            anonymous: false,
            tls: null,
            grpcPort: null,
            processes: 1,
            accessLogPercent: 0,
            limits: { connections: 8_192, requests: 4_096, headBytes: 16_384, pipelined: 16 },
          },
          storage: { minFreeBytes: 0 },
          alerts: { webhooks: [] },
          models: [],
          endpoints: [],
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
    canaries: {
      list: () => [fakeCanary],
      get: ({ endpoint }) => {
        if (endpoint !== fakeCanary.endpoint) throw new NotFoundError(`endpoint ${endpoint}`)
        return fakeCanary
      },
      stop: (input) => {
        did('canaries.stop', input)
        return { ...fakeRelease, status: 'cancelled', why: `stopped by ${input.by}: ${input.why}` }
      },
      promote: (input) => {
        did('canaries.promote', input)
        return { ...fakeRelease, why: `promoted by ${input.by}: ${input.why}` }
      },
    },
    triggers: {
      list: () => [fakeTrigger],
      history: () => [fakeTriggerEvent],
      pause: (input) => (did('triggers.pause', input), [{ ...fakeTrigger, state: 'paused' as const, why: input.why }]),
      resume: (input) => (did('triggers.resume', input), [fakeTrigger]),
    },
    backfills: {
      list: () => [fakeBackfill],
      start: (input) => (did('backfills.start', input), fakeBackfill),
      cancel: (input) => (did('backfills.cancel', input), { ...fakeBackfill, status: 'cancelled' as const }),
    },
    freezes: {
      list: () => [fakeFreeze],
      create: (input) => (did('freezes.create', input), { ...fakeFreeze, why: input.why, by: input.by }),
      end: (input) => {
        did('freezes.end', input)
        return [{ ...fakeFreeze, status: 'ended' as const, endedAtMs: T0, endedWhy: `${input.by}: ${input.why}` }]
      },
    },
    retirement: {
      list: () => [fakeRetirement, { ...fakeRetirement, version: 'late-flight@2', status: 'kept', policy: null }],
      retire: (input) => {
        did('retirement.retire', input)
        if (input.ref === 'late-flight@2') throw new ConflictError('late-flight@2 is in use (alias champion).')
        return { ...fakeRetirement, policy: 'person', why: input.why }
      },
      revive: (input) => (did('retirement.revive', input), { ...fakeRetirement, status: 'kept' as const }),
      keep: (input) => {
        did('retirement.keep', input)
        return { ...fakeRetirement, status: 'kept' as const, keptUntilMs: input.untilMs }
      },
    },
    endpoints: {
      list: () => [fakeEndpoint],
      disable: (input) => {
        did('endpoints.disable', input)
        return { ...fakeEndpoint, state: 'disabled', why: `disabled by ${input.by}: ${input.why}` }
      },
      enable: (input) => (did('endpoints.enable', input), fakeEndpoint),
      join: (input) => (did('endpoints.join', input), fakeEndpoint),
    },
    callers: {
      list: ({ revoked }) => [
        fakeCaller,
        ...(revoked ? [{ ...fakeCaller, name: 'old-site', revoked: fakeRevocation }] : []),
      ],
      add: (input) => {
        did('callers.add', input)
        const { name, endpoints, commonNames, concurrency, key } = input
        const made = { ...fakeCaller, name, endpoints, commonNames, concurrency, pins: [] }
        return { ...made, key: key ? fakeKey : null, othersEndAtMs: null }
      },
      rotate: (input) => {
        did('callers.rotate', input)
        return { ...fakeCaller, name: input.name, key: fakeKey, othersEndAtMs: T0 + input.keepMs }
      },
      revoke: (input) => {
        did('callers.revoke', input)
        return { ...fakeCaller, name: input.name, revoked: { ...fakeRevocation, by: input.by, why: input.why } }
      },
      pin: (input) => {
        did('callers.pin', input)
        const { caller, endpoint, ref, forMs, why, by } = input
        return { ...fakePin, caller, endpoint, version: version(ref).ref, why, by, expiresAtMs: T0 + forMs }
      },
      unpin: (input) => {
        did('callers.unpin', input)
        return { ...fakeCaller, name: input.caller, pins: [] }
      },
    },
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
    metrics: {
      get: ({ process = 'control-plane' }) => ({ process, text: '# TYPE millrace_runs_open gauge\n' }),
    },
    serviceLevels: {
      get: () => fakeStatus(clock()).serviceLevels,
      budgets: ({ model: name }) => (name === undefined ? null : model(name), fakeBudgets),
    },
    monitors: { list: ({ model: name }) => (name === undefined ? null : model(name), fakeMonitors) },
    alerts: {
      list: ({ all }) => (all ? [fakeAlert, { ...fakeAlert, id: 'alert-1', status: 'resolved' }] : [fakeAlert]),
      acknowledge: ({ id, why, by }) => ({ ...alert(id), acknowledgedBy: by, acknowledgedWhy: why }),
      silence: ({ id, forMs }) => ({ ...alert(id), silencedUntilMs: T0 + forMs }),
    },
  }
  return fake
}

const fakeKey = `millrace_${'A'.repeat(43)}`
const fakeRevocation = { atMs: T0, by: 'ann', why: 'the key was in a log' }
const fakePin: PinView = {
  caller: 'booking-site',
  endpoint: 'late-flight',
  version: 'late-flight@1',
  by: 'ann',
  why: null,
  pinnedAtMs: T0,
  expiresAtMs: T0 + 30 * 86_400_000,
  endsSoon: false,
}
const fakeCaller: CallerView = {
  name: 'booking-site',
  endpoints: null,
  commonNames: ['booking.example'],
  concurrency: 50,
  keys: [{ hint: 'millrace_AAAA…', createdAtMs: T0, endsAtMs: null }],
  pins: [fakePin],
  requests: 1_234,
  lastUsedMs: T0,
  createdBy: 'ann',
  createdAtMs: T0,
  revoked: null,
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

const fakeFreeze: FreezeView = {
  id: 'freeze-1',
  model: 'late-flight',
  endpoint: 'late-flight',
  kind: 'person',
  status: 'active',
  why: 'the schedule changes',
  unfreezes: "'millrace unfreeze late-flight'",
  by: 'ann',
  createdAtMs: T0,
  endedAtMs: null,
  endedWhy: null,
}

const fakeTrigger: TriggerDetail = {
  model: 'late-flight',
  trigger: 'cron-1',
  kind: 'cron',
  declared: '0 3 * * MON (Europe/Berlin)',
  state: 'watching',
  why: 'not yet time',
  nextAtMs: T0 + 7 * 86_400_000,
  lastFiredAtMs: T0,
  lastRun: 'run-2',
}

const fakeTriggerEvent: TriggerEventView = {
  model: 'late-flight',
  trigger: 'cron-1',
  what: 'skipped',
  why: 'run-2 of the model was still open, and overlap is false',
  run: null,
  atMs: T0,
  calendarMs: T0,
}

const fakeBackfill: BackfillView = {
  model: 'late-flight',
  backfill: 'backfill-1',
  status: 'running',
  why: '3 of 31 queued: run-2 goes first',
  fromMs: T0,
  everyMs: 86_400_000,
  runs: 31,
  queued: 3,
  succeeded: 2,
  failed: 0,
  cause: 'new feature',
  by: 'ann',
  createdAtMs: T0,
}

const fakeRetirement: RetirementRow = {
  version: 'late-flight@1',
  model: 'late-flight',
  status: 'proposed',
  policy: 'superseded',
  why: 'late-flight@2 serves instead',
  heldBy: ['alias previous (what a rollback goes to)'],
  next: null,
  outlook: 'in use: alias previous (what a rollback goes to)',
  by: 'millrace',
  statusAtMs: T0,
  keptUntilMs: null,
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
    retirement: null,
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

const fakeCanary: CanaryView = {
  endpoint: 'late-flight',
  model: 'late-flight',
  release: 'release-2',
  status: 'canary',
  why: 'canary at 10% begins: 2 of 2 replicas are ready',
  running: true,
  challenger: 'late-flight@3',
  champion: 'late-flight@2',
  steps: [10, 50].map((weightPercent, i) => ({
    trial: i === 0 ? 'trial-1' : null,
    kind: 'canary',
    step: i + 1,
    weightPercent,
    state: i === 0 ? 'running' : 'waiting',
    why: null,
    soakMs: 600_000,
    minRequests: 100,
    minLabels: 0,
    elapsedMs: i === 0 ? 90_000 : 0,
    startedAtMs: i === 0 ? T0 : null,
    endedAtMs: null,
    challenger: { requests: i === 0 ? 42 : 0, failed: 0 },
    champion: { requests: i === 0 ? 380 : 0, failed: i === 0 ? 1 : 0 },
  })),
  maxTimeMs: 86_400_000,
  look: {
    decision: 'wait',
    reason: 'soaking',
    why: 'soaking: 90 s of 10 min, 42 requests',
    missing: ['soaking: 90 s of 10 min, 42 requests'],
    tests: [
      {
        test: 'errors',
        verdict: 'open',
        why: '0 of 42 failed (0%), of the champion 1 of 380 (0.263%); e = 0.9, harm from 400, proven by 4 more in a row',
        challenger: 0,
        champion: 0.00263,
        value: 0,
        low: 0,
        high: null,
        eValue: 0.9,
        limit: 1,
        alpha: 0.0025,
        challengerN: 42,
        championN: 380,
      },
    ],
    requests: 42,
    labels: 0,
    elapsedMs: 90_000,
    measuredAtMs: T0,
    atMs: T0,
  },
  looks: [],
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
  gather: null,
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
    budgets: fakeBudgets,
    alerts: [fakeAlert],
    monitoring: [{ model: 'late-flight', monitoredUntilMs: T0, labelledUntilMs: null }],
    disk: { freeBytes: 5e9, minFreeBytes: 1e9, low: false },
    warnings: [{ text: 'late-flight has no label', fix: 'Declare it.' }],
  }
}

const fakeAlert: AlertView = {
  id: 'alert-2',
  status: 'firing',
  severity: 'warning',
  model: 'late-flight',
  endpoint: 'late-flight',
  version: 'late-flight@1',
  source: 'drift',
  subject: 'distance',
  why: 'PSI 0.39 of distance beyond chance exceeds 0.25',
  figures: { psi: 0.4, rows: 1_000 },
  runbook: 'Ask the callers for their units.',
  response: 'retrain',
  responseTaken: null,
  openedAtMs: T0,
  openedCalendarMs: T0,
  firedAtMs: T0,
  firedCalendarMs: T0,
  resolvedAtMs: null,
  acknowledgedBy: null,
  acknowledgedWhy: null,
  silencedUntilMs: null,
  notifications: [
    {
      about: 'firing',
      target: 'https://hooks.example.com/… (0a1b2c3d)',
      status: 'failed',
      attempts: 5,
      why: 'no answer within 5000 ms',
      sentAtMs: null,
    },
  ],
}

const fakeMonitor: MonitorView = {
  model: 'late-flight',
  monitor: 'drift',
  subject: 'distance',
  version: 'late-flight@1',
  verdict: 'bad',
  why: fakeAlert.why,
  value: 0.39,
  limit: 0.25,
  unit: 'psi',
  n: 1_000,
  windowFromMs: T0 - 86_400_000,
  windowToMs: T0,
  sinceMs: T0,
  judgedUntilMs: T0,
  badWindows: 2,
  raiseAfter: 2,
  response: 'retrain',
  alert: 'alert-2',
}

const fakeMonitors: MonitorView[] = [
  { ...fakeMonitor, subject: '', alert: null },
  fakeMonitor,
  { ...fakeMonitor, subject: 'origin', verdict: 'ok', value: 0.01, why: 'PSI 0.01 of origin', alert: null },
  {
    ...fakeMonitor,
    monitor: 'silence',
    subject: '',
    verdict: 'ok',
    value: 90_000,
    limit: 3_600_000,
    unit: 'ms',
    why: 'no request for 1.5 min',
    alert: null,
  },
]

function alert(id: string): AlertView {
  if (id === fakeAlert.id) return fakeAlert
  throw new MillraceError({
    code: 'MR_ALERT_NOT_FOUND',
    kind: 'not-found',
    message: `There is no alert '${id}'.`,
    fix: `Run 'millrace alerts --all' to see the alerts.`,
  })
}

const fakeBurns: BudgetView['burns'] = [
  { limit: 14.4, severity: 'page', longMs: 3_600_000, longRate: 20, shortMs: 300_000, shortRate: 30, burning: true },
  { limit: 6, severity: 'page', longMs: 21_600_000, longRate: 7.25, shortMs: 1_800_000, shortRate: 0, burning: false },
  { limit: 1, severity: 'ticket', longMs: 259_200_000, longRate: 0, shortMs: 21_600_000, shortRate: 0, burning: false },
]

const fakeBudgets: BudgetView[] = [
  {
    model: 'late-flight',
    level: 'runSuccess',
    phase: 'pipeline',
    events: 'runs',
    objective: 0.9,
    thresholdMs: null,
    windowMs: 2_592_000_000,
    good: 1,
    bad: 2,
    left: 0,
    burns: fakeBurns.map((burn) => ({ ...burn, longRate: 0, shortRate: 0, burning: false })),
    state: 'spent',
    why: '2 of the last 3 runs were bad',
    effect: 'freeze',
    freeze: 'freeze-1',
    restores: '2 good runs in a row',
    alert: 'alert-4',
  },
  {
    model: 'late-flight',
    level: 'latency',
    phase: 'serving',
    events: 'requests',
    objective: 0.99,
    thresholdMs: 200,
    windowMs: 2_592_000_000,
    good: 12_000,
    bad: 60,
    left: 0.502,
    burns: fakeBurns,
    state: 'burning',
    why: '60 of 12060 requests were bad in 30 days',
    effect: 'tell',
    freeze: null,
    restores: null,
    alert: 'alert-5',
  },
]
