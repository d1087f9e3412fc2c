import { setTimeout as sleep } from 'node:timers/promises'
import { findTree } from '../../src/kernel/runtime/process/kill-tree.ts'
import { isAlive, type ProcessRecord } from '../../src/kernel/runtime/process-record.ts'
import type { Random } from '../../src/kernel/stats/random.ts'
import type { Installation } from './installation.ts'
import { MODEL } from './project.ts'
import type { Traffic } from './traffic.ts'
import { nowMs, until } from './until.ts'

/**
 * How each kind of process is killed, and how it is seen that what it did goes on. Killed is only what was started by
 * this suite, or what a record names and is still the process that the record means.
 */
export type VictimKind =
  | 'supervisor'
  | 'control plane'
  | 'gateway'
  | 'model server'
  | 'step'
  | 'evaluate job'
  | 'ingest job'

export interface Killed {
  kind: VictimKind
  /** Which one, for people. */
  what: string
  atMs: number
  /** Resolves once its work goes on. @returns when it did, ms since 1970; null where it had just ended by itself */
  recovered: () => Promise<number | null>
}

export interface Scene {
  installation: Installation
  traffic: Traffic
  random: Random
}

/** Jobs and steps come and go: so long one is waited for. */
const APPEAR_MS = 20_000
const JOB_MOMENT_MS_MAX = 250
const MISSES_MAX = 5

/** @returns null where there was none to kill in time */
export const victims: Record<VictimKind, (scene: Scene) => Promise<Killed | null>> = {
  supervisor: killSupervisor,
  'control plane': (scene) => killServer(scene, 'control plane', 'control-plane', controlPlaneAnswers),
  gateway: killGateway,
  'model server': killModelServer,
  step: killStep,
  'evaluate job': (scene) => killJob(scene, 'evaluate job', 'evaluate', evaluationGoesOn),
  'ingest job': (scene) => killJob(scene, 'ingest job', 'ingest', () => Promise.resolve(false)),
}

/** Recovered when another `up` has adopted what runs: that is this suite's part. */
async function killSupervisor({ installation }: Scene): Promise<Killed> {
  const atMs = nowMs()
  await installation.killSupervisor()
  const recovered = async () => {
    await installation.up()
    return nowMs()
  }
  return { kind: 'supervisor', what: 'supervisor', atMs, recovered }
}

async function killGateway(scene: Scene): Promise<Killed | null> {
  const outage = scene.traffic.beginOutage(nowMs(), 'killed')
  return killServer(scene, 'gateway', 'gateway', async (atMs) => {
    outage.untilMs = await scene.traffic.answeredAfter(atMs)
    return outage.untilMs
  })
}

async function killServer(
  scene: Scene,
  kind: VictimKind,
  role: ProcessRecord['role'],
  answers: (atMs: number, scene: Scene) => Promise<number>,
): Promise<Killed | null> {
  const record = await until(`a ${kind} to kill`, () => scene.installation.living(role)[0])
  const atMs = nowMs()
  if (!kill(record)) return null
  return { kind, what: `${kind} (pid ${record.pid})`, atMs, recovered: () => answers(atMs, scene) }
}

async function controlPlaneAnswers(_atMs: number, { installation }: Scene): Promise<number> {
  await until('the control plane to answer', () => installation.impatientApi.clock.get())
  return nowMs()
}

/** Any but the last one that serves: with it dead there would be nobody to answer. */
async function killModelServer({ installation, random }: Scene): Promise<Killed | null> {
  await until('every replica to be ready', async () => {
    const { endpoints } = await installation.api.status.get()
    return endpoints.every(({ members }) => members.every((m) => m.replicasReady >= m.replicasWanted))
  })
  const records = installation.living('replica')
  const record = records[random.integer(Math.max(1, records.length))]
  if (record === undefined) return null
  const deployment = installation.deploymentOf(record.id)
  const atMs = nowMs()
  if (!kill(record)) return null
  const recovered = async () => {
    await until(`${deployment} to be complete again`, () => isComplete(installation, deployment, record.id), {
      everyMs: 50,
    })
    return nowMs()
  }
  return { kind: 'model server', what: `${record.id} of ${deployment}`, atMs, recovered }
}

/** Or no longer wanted. */
async function isComplete({ impatientApi }: Installation, deployment: string, lost: string): Promise<boolean> {
  const { replicas, endpoints } = await impatientApi.status.get()
  if (replicas.some(({ id }) => id === lost)) return false
  const own = replicas.filter((replica) => replica.deployment === deployment)
  const wanted = endpoints.flatMap(({ members }) => members).find((m) => m.deployment === deployment)?.replicasWanted
  const ready = own.filter(({ state }) => state === 'ready').length
  return wanted === undefined
    ? own.length === 0 || own.some(({ state }) => state === 'draining') || ready > 1
    : ready >= wanted
}

/** Either the shell that keeps the exit status, or the command that it runs. */
async function killStep({ installation, random }: Scene): Promise<Killed | null> {
  await sleep(random.integer(600))
  for (let misses = 0; misses < MISSES_MAX; misses++) {
    const record = await appears(() => installation.living('step')[0])
    if (record === null) return null
    const {
      MILLRACE_RUN_ID: run,
      MILLRACE_STEP: step,
      MILLRACE_ATTEMPT: attempt,
    } = installation.environmentOf(record.pid)
    const atMs = nowMs()
    const isShell = random.integer(2) === 0
    const done = run !== undefined && (isShell ? kill(record) : await killCommandOf(record))
    if (!done) continue
    const recovered = () => stepGoesOn(installation, run, step!, Number(attempt))
    return { kind: 'step', what: `${isShell ? 'shell' : 'command'} of ${run} ${step} ${attempt}`, atMs, recovered }
  }
  return null
}

async function killCommandOf(record: ProcessRecord): Promise<boolean> {
  const tree = await findTree({ roots: [record] })
  const command = tree.filter((pid) => pid !== record.pid)
  if (!isAlive(record) || command.length === 0) return false
  return command.map(signal).some(Boolean)
}

/** Its next attempt is under way, or its run needs none. */
async function stepGoesOn(
  { impatientApi }: Installation,
  run: string,
  step: string,
  attempt: number,
): Promise<number | null> {
  return until(`step '${step}' of ${run} to go on`, async () => {
    const { steps, endedAtMs } = await impatientApi.runs.get({ id: run })
    const view = steps.find(({ name }) => name === step)
    const next = view?.attempts.find((a) => a.attempt > attempt && a.startedAtMs !== null && a.status !== 'starting')
    if (next !== undefined) return { atMs: nowMs() }
    return endedAtMs !== null || view?.status === 'succeeded' ? { atMs: null } : null
  }).then(({ atMs }) => atMs)
}

/** At a random moment of a job's life; one that ends before is no victim, and the next is waited for. */
async function killJob(
  { installation, random }: Scene,
  kind: VictimKind,
  job: string,
  isSettled: (installation: Installation) => Promise<boolean>,
): Promise<Killed | null> {
  const find = (but?: ProcessRecord) =>
    installation.living('job').find((record) => record.id !== but?.id && installation.jobKind(record) === job)
  for (let misses = 0; misses < MISSES_MAX; misses++) {
    const record = await appears(() => find())
    if (record === null) return null
    await sleep(random.integer(JOB_MOMENT_MS_MAX))
    const atMs = nowMs()
    if (!kill(record)) continue
    const recovered = async () => {
      const next = async () => (find(record) !== undefined ? 'another' : (await isSettled(installation)) && 'settled')
      return (await until(`another ${kind}`, next)) === 'another' ? nowMs() : null
    }
    return { kind, what: record.id, atMs, recovered }
  }
  return null
}

async function evaluationGoesOn({ impatientApi }: Installation): Promise<boolean> {
  const { versions } = impatientApi
  return (await versions.list({ model: MODEL, limit: 20 })).every(({ status }) => status !== 'evaluating')
}

async function appears<T>(look: () => T | undefined): Promise<T | null> {
  const giveUpAtMs = performance.now() + APPEAR_MS
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    if (performance.now() > giveUpAtMs) return null
    await sleep(5)
  }
}

/** @returns false where it has ended by itself */
function kill(record: ProcessRecord): boolean {
  return isAlive(record) && signal(record.pid)
}

function signal(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL')
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}
