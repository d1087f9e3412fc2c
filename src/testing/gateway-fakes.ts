import type { SpoolRecord, LogMode } from '../kernel/contract/prediction.ts'
import type { EndpointRoute, LogReport, RoutedDeployment, RoutingSnapshot } from '../kernel/contract/routing.ts'
import { UpstreamError } from '../serving/gateway/errors.ts'
import type { UpstreamFault } from '../serving/gateway/errors.ts'
import type { PredictionLog } from '../serving/gateway/prediction-log.ts'
import type { OpenUpstream, UpstreamAnswer, UpstreamRequest } from '../serving/gateway/upstream/upstream.ts'

export function deploymentOf(overrides: Partial<RoutedDeployment> & { deploymentId: string }): RoutedDeployment {
  return {
    version: overrides.deploymentId.replace('deployment-', ''),
    signature: {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['age', 'income'] }],
      outputs: [{ name: 'probability', datatype: 'FP32', shape: [-1], columns: null }],
    },
    replicas: [{ replicaId: `${overrides.deploymentId}-replica`, socketPath: `/${overrides.deploymentId}.sock` }],
    ...overrides,
  }
}

export function routeOf(overrides: Partial<EndpointRoute> = {}): EndpointRoute {
  const deployments = overrides.deployments ?? [deploymentOf({ deploymentId: 'deployment-1' })]
  const first = deployments[0]
  return {
    endpoint: 'late-flights',
    model: 'late-flight',
    logMode: 'relaxed',
    logSamplePercent: 100,
    bodyLimitBytes: 100_000,
    timeoutMs: 5_000,
    members: first === undefined ? [] : [{ deploymentId: first.deploymentId, weightPercent: 100 }],
    deployments,
    trial: null,
    mirrors: [],
    disabled: null,
    fallback: { kind: 'error' },
    ...overrides,
  }
}

export function snapshotOf(revision: number, endpoints: EndpointRoute[] = [routeOf()], epoch = 1): RoutingSnapshot {
  return { epoch, revision, project: 'flights', issuedAtMs: 0, endpoints }
}

export const inferBody = Buffer.from('{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}')

export function answerOf(status: number, value: unknown = { outputs: [] }): UpstreamAnswer {
  const headers = new Map([['content-type', 'application/json']])
  return { status, headers, body: Buffer.from(JSON.stringify(value)), jsonBytes: null }
}

type Reply = UpstreamAnswer | UpstreamFault | 'silence'

export interface FakeReplicas {
  open: OpenUpstream
  /** Every request that reached a replica, in order. */
  asked: { socketPath: string; request: UpstreamRequest }[]
  /** Replies of a replica, in turn; the last one stays. */
  script(socketPath: string, ...replies: Reply[]): void
  ready(socketPath: string, ready: boolean): void
  aborted: number
}

/** Replicas without processes: each answers 200 unless told otherwise. */
export function fakeReplicas(): FakeReplicas {
  const scripts = new Map<string, Reply[]>()
  const notReady = new Set<string>()
  const fake: FakeReplicas = {
    asked: [],
    aborted: 0,
    script: (socketPath, ...replies) => void scripts.set(socketPath, replies),
    ready: (socketPath, ready) => void (ready ? notReady.delete(socketPath) : notReady.add(socketPath)),
    open: ({ socketPath }) => ({
      call(request) {
        fake.asked.push({ socketPath, request })
        const script = scripts.get(socketPath) ?? []
        const reply = (script.length > 1 ? script.shift() : script[0]) ?? answerOf(200, { from: socketPath })
        let abort: () => void = () => undefined
        const aborted = new Promise<never>((_resolve, reject) => {
          abort = () => {
            fake.aborted += 1
            reject(new UpstreamError('aborted', 'given up'))
          }
        })
        aborted.catch(() => undefined) // only those that wait for it mind
        if (reply === 'silence') return { answer: aborted, abort }
        if (typeof reply === 'string')
          return { answer: Promise.reject(new UpstreamError(reply, `${socketPath} ${reply}`)), abort }
        return { answer: Promise.resolve(reply), abort }
      },
      probe: () => Promise.resolve(!notReady.has(socketPath)),
      retire: () => undefined,
      close: () => undefined,
    }),
  }
  return fake
}

export interface FakeLog extends PredictionLog {
  records: { record: SpoolRecord; mode: LogMode }[]
  sampledOut: number
  /** Set to make durable appends fail. */
  failure: Error | null
  /** Set to keep durable appends waiting. */
  hold: Promise<void> | null
}

/** A prediction log in memory. */
export function fakeLog(): FakeLog {
  const log: FakeLog = {
    records: [],
    sampledOut: 0,
    failure: null,
    hold: null,
    async append(record, mode) {
      if (mode === 'durable') {
        await log.hold
        if (log.failure !== null) throw log.failure
      }
      log.records.push({ record, mode })
      return 'logged'
    },
    countSampledOut: () => void (log.sampledOut += 1),
    counts: (): LogReport => {
      const logged = log.records.filter(({ record }) => record.kind === 'prediction').length
      const labels = log.records.filter(({ record }) => record.kind === 'label').length
      const { sampledOut } = log
      return { answered: logged + sampledOut, logged, sampledOut, dropped: 0, labels, lagMs: 0, diskFull: false }
    },
    close: () => Promise.resolve(),
  }
  return log
}
