import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import type { ChildProcess } from 'node:child_process'
import { dirname, join } from 'node:path'
import type { EndpointRoute, RoutedDeployment, RoutedReplica } from '../../../src/kernel/contract/routing.ts'
import { openLab } from '../../../src/testing/gateway-lab.ts'
import type { FakeControlPlane, Lab } from '../../../src/testing/gateway-lab.ts'
import { builtCli } from '../package.ts'
import { writeSmallModel } from './models.ts'
import type { ServedModel } from './models.ts'
import { spawnPinned, stop } from './pinned.ts'

export interface RunningProcess {
  pid: number
  stop(): Promise<void>
}

export interface RunningGateway extends RunningProcess {
  port: number
}

export interface RunningServer extends RunningProcess {
  replica: RoutedReplica
  /** HTTP, for who calls it without a gateway. */
  port: number
  model: ServedModel
}

interface How {
  cores: string
  /** For the processes under a profile. */
  nodeArgs?: string[]
}

/**
 * The gateway and model servers, each the process that users run, in the place of whose control plane the bench tells
 * routes and takes reports: what is measured is the data plane alone.
 */
export class DataPlane {
  readonly #lab: Lab
  readonly #control: FakeControlPlane
  readonly #running: RunningProcess[] = []
  readonly #dist: string
  #revision = 0
  #names = 0

  private constructor(dist: string, lab: Lab, control: FakeControlPlane) {
    this.#dist = dist
    this.#lab = lab
    this.#control = control
  }

  /** @param dist - of a built package */
  static async open(dist = dirname(builtCli())): Promise<DataPlane> {
    const lab = openLab()
    return new DataPlane(dist, lab, await lab.controlPlane())
  }

  get dir(): string {
    return this.#lab.dir
  }

  socket(name: string): string {
    return this.#lab.socket(name)
  }

  keep<P extends RunningProcess>(running: P): P {
    this.#running.push(running)
    return running
  }

  /** The small model unless another one is given. */
  async modelServer(how: How & { model?: ServedModel; maxBatchRows?: number }): Promise<RunningServer> {
    const { model = writeSmallModel(this.dir), maxBatchRows = 64 } = how
    const replicaId = `server-${(this.#names += 1)}`
    const token = randomBytes(8).toString('hex')
    const socketPath = this.socket(replicaId)
    const framesPath = this.socket(`${replicaId}-frames`)
    const child = this.#start('model-server', replicaId, how, {
      replicaId,
      token,
      deploymentId: 'deployment-1',
      model: model.name,
      version: '1',
      artifactPath: model.path,
      digest: `sha256:${createHash('sha256').update(readFileSync(model.path)).digest('hex')}`,
      features: null,
      maxBatchRows,
      socketPath,
      framesPath,
      controlSocket: this.socket('control'),
      recordPath: join(this.dir, 'run', `${replicaId}.json`),
    })
    const { httpPort } = await this.#control.leased((lease) => lease.token === token && lease.state === 'ready')
    const replica = { replicaId, socketPath, framesPath }
    return this.keep({ replica, port: httpPort!, model, pid: child.pid!, stop: () => stop(child) })
  }

  /** With these routes; returns once it has them. */
  async gateway(endpoints: EndpointRoute[], how: How): Promise<RunningGateway> {
    const gatewayId = `gateway-${(this.#names += 1)}`
    const token = randomBytes(8).toString('hex')
    this.publish(endpoints)
    const revision = this.#revision
    const child = this.#start('gateway', gatewayId, how, {
      gatewayId,
      token,
      host: '127.0.0.1',
      port: 0,
      dataDir: join(this.dir, gatewayId),
      controlSocket: this.socket('control'),
      socketPath: this.socket(gatewayId),
      drain: { idleMs: 0, limitMs: 2_000 },
    })
    const { port } = await this.#control.reported(
      (report) => report.token === token && report.revision >= revision && report.port > 0,
    )
    return this.keep({ port, pid: child.pid!, stop: () => stop(child) })
  }

  publish(endpoints: EndpointRoute[]): void {
    this.#revision += 1
    this.#control.publish({ epoch: 1, revision: this.#revision, project: 'bench', issuedAtMs: 0, endpoints })
  }

  async close(): Promise<void> {
    for (const running of this.#running.reverse()) await running.stop()
    await this.#lab.close()
  }

  #start(entry: string, id: string, { cores, nodeArgs = [] }: How, options: object): ChildProcess {
    const file = join(this.#dist, 'processes', `${entry}.js`)
    const path = join(this.dir, `${id}.json`)
    writeFileSync(path, JSON.stringify(options))
    mkdirSync(join(this.dir, id, 'run'), { recursive: true })
    mkdirSync(join(this.dir, 'run'), { recursive: true })
    const log = openSync(join(this.dir, `${id}.log`), 'a')
    return spawnPinned(cores, process.execPath, [...nodeArgs, file, path], { stdio: ['ignore', log, log] })
  }
}

/** One endpoint on one version, as a project has it by default. */
export function routeTo(
  model: ServedModel,
  replicas: RoutedReplica[],
  overrides: Partial<EndpointRoute> & { deploymentId?: string } = {},
): EndpointRoute {
  const { deploymentId = 'deployment-1', ...others } = overrides
  const deployment: RoutedDeployment = { deploymentId, version: '1', signature: model.signature, replicas }
  return {
    endpoint: model.name,
    model: model.name,
    logMode: 'relaxed',
    logSamplePercent: 100,
    bodyLimitBytes: 64 * 1024 * 1024,
    timeoutMs: 30_000,
    members: [{ deploymentId, weightPercent: 100 }],
    deployments: [deployment],
    trial: null,
    mirrors: [],
    disabled: null,
    fallback: { kind: 'error' },
    sticky: null,
    rules: [],
    pins: [],
    gather: null,
    limits: { concurrency: null, perCaller: null },
    ...others,
  }
}

/** One request of one row to the endpoint, by v2. */
export const inferPath = (model: ServedModel): string => `/v2/models/${model.name}/infer`
