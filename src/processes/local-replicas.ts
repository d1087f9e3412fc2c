import { appendFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { modelFiles } from '../control/registry/model-files.ts'
import { layOutPrepare, layOutServer } from '../control/registry/server-place.ts'
import { placedTables } from '../control/registry/version-tables.ts'
import type { Version } from '../control/registry/version.ts'
import type { ReplicaRuntime } from '../control/release/replica-runtime.ts'
import type { Artifacts } from '../kernel/artifacts/artifacts.ts'
import { killTree } from '../kernel/runtime/process/kill-tree.ts'
import { PROCESS_TOKEN_MARK } from '../kernel/runtime/marks.ts'
import { processEntry } from '../kernel/runtime/process-entry.ts'
import {
  isAlive,
  readProcessRecord,
  readProcessRecords,
  removeProcessRecord,
  runDirOf,
} from '../kernel/runtime/process-record.ts'
import { socketDir } from '../kernel/runtime/socket-dir.ts'
import { spawnDetached } from '../kernel/runtime/process/spawn-detached.ts'
import { stopProcess } from '../kernel/runtime/stop-all.ts'
import type { ReplicaOptions } from '../serving/model-server/replica-options.ts'

const ROWS_MAX = 1_024
/** Logs of replicas, living ones included, that are kept. */
const LOGS_MAX = 100

/** Model servers as processes of this machine, each reached by its unix socket. */
export function replicaRuntime({ dataDir, artifacts }: { dataDir: string; artifacts: Artifacts }): ReplicaRuntime {
  const sockets = socketDir(dataDir)
  return {
    async start({ id, token, deploymentId, version, config }) {
      const logPath = join(dataDir, 'logs', `${id}.log`)
      const options: ReplicaOptions = {
        replicaId: id,
        token,
        deploymentId,
        model: version.model,
        version: String(version.number),
        ...(await placeOf({ dataDir, artifacts }, id, version, logPath)),
        versionDigest: version.modelDigest,
        features: singleInputColumns(version.signature),
        socketPath: join(sockets, `${id}.sock`),
        framesPath: join(sockets, `${id}.frames`),
        controlSocket: join(sockets, 'control.sock'),
        maxBatchRows: config?.serving.maxBatchRows ?? ROWS_MAX,
        isolate: config?.serving.isolate,
        recordPath: join(runDirOf(dataDir), `${id}.json`),
      }
      const path = optionsPath(dataDir, id)
      mkdirSync(join(dataDir, 'replicas'), { recursive: true, mode: 0o700 })
      writeFileSync(path, JSON.stringify(options), { mode: 0o600 })
      const { exited } = await spawnDetached({
        id,
        role: 'replica',
        token,
        socketPath: options.socketPath,
        dataDir,
        command: process.execPath,
        args: [processEntry('model-server'), path],
        env: { ...ownEnvironment(), ORT_DISABLE_TELEMETRY: '1' },
        logPath,
      })
      return { exited: exited.then(() => undefined) }
    },
    async observe(replicaId) {
      const record = readProcessRecord(dataDir, replicaId)
      if (record === null) return 'unknown'
      if (isAlive(record)) return 'alive'
      // What it has started, a server of the user's own say, must not outlive it.
      await killTree({ roots: [record], mark: { name: PROCESS_TOKEN_MARK, value: record.token }, graceMs: 0 })
      removeProcessRecord(dataDir, replicaId, record.token)
      return 'dead'
    },
    async stop(replicaId, graceMs) {
      const record = readProcessRecord(dataDir, replicaId)
      if (record === null || !isAlive(record)) return
      // It alone at first: a command that it has started is still needed for what it answers, and ended by itself then.
      await stopProcess(record, graceMs)
      await killTree({ roots: [record], mark: { name: PROCESS_TOKEN_MARK, value: record.token }, graceMs: 0 })
    },
    async forget(replicaId) {
      rmSync(optionsPath(dataDir, replicaId), { force: true })
      rmSync(join(dataDir, 'replicas', replicaId), { recursive: true, force: true })
      for (const end of ['sock', 'frames']) rmSync(join(sockets, `${replicaId}.${end}`), { force: true })
      forgetOldLogs(join(dataDir, 'logs'))
    },
    async liveGateways() {
      return readProcessRecords(dataDir)
        .filter((r) => r.role === 'gateway' && isAlive(r))
        .map((r) => r.id)
    },
  }
}

/** Where the version is: one ONNX file with what stands before it, or what its own server needs. */
async function placeOf(
  { dataDir, artifacts }: { dataDir: string; artifacts: Artifacts },
  id: string,
  version: Version,
  logPath: string,
): Promise<Pick<ReplicaOptions, 'artifactPath' | 'digest' | 'externalDigests' | 'tables' | 'server' | 'prepare'>> {
  const { server, prepare, codeDigest, tables, asOfMs } = version.lineage
  mkdirSync(join(dataDir, 'logs'), { recursive: true, mode: 0o700 })
  const onLog = (text: string) => appendFileSync(logPath, `${text}\n`)
  const dir = join(dataDir, 'replicas', id)
  if (server === undefined) {
    const files = await modelFiles({ artifacts, dataDir }, version.modelDigest)
    const placed = placedTables(files, tables, asOfMs ?? version.createdCalendarMs)
    const { path, digest, externalDigests } = files
    const place = { artifactPath: path, digest, externalDigests, ...(placed.length > 0 && { tables: placed }) }
    if (prepare === undefined) return place
    const step = await layOutPrepare({ artifacts, dataDir }, { ...version, codeDigest, prepare }, dir, onLog)
    return { ...place, prepare: { ...step, logPath: join(dataDir, 'logs', `${id}.prepare.log`) } }
  }
  const plan = await layOutServer({ artifacts, dataDir }, { ...version, codeDigest, server }, dir, onLog)
  const ownLog = { ...plan, logPath: join(dataDir, 'logs', `${id}.server.log`) }
  return { artifactPath: plan.modelDir, digest: version.modelDigest, server: ownLog }
}

/** The columns that an evaluation found for a model that does not name them itself. */
function singleInputColumns(signature: { inputs: { columns: string[] | null }[] } | null): string[] | null {
  return signature?.inputs.length === 1 ? (signature.inputs[0]?.columns ?? null) : null
}

const optionsPath = (dataDir: string, id: string) => join(dataDir, 'replicas', `${id}.json`)

/** The database's address is nobody else's. */
function ownEnvironment(): Record<string, string> {
  const { MILLRACE_DATABASE_URL: _secret, ...others } = process.env
  return others as Record<string, string>
}

function forgetOldLogs(dir: string): void {
  const number = (name: string) => Number.parseInt(name.slice('replica-'.length), 10)
  const logs = readdirSync(dir).filter((name) => /^replica-\d+(\.(server|prepare))?\.log$/.test(name))
  for (const name of logs.toSorted((a, b) => number(b) - number(a)).slice(LOGS_MAX))
    rmSync(join(dir, name), { force: true })
}
