import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ReplicaRuntime } from '../control/release/deployment-controller.ts'
import type { Artifacts } from '../kernel/artifacts/artifacts.ts'
import { messageOf } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { killTree } from '../kernel/runtime/process/kill-tree.ts'
import { PROCESS_TOKEN_MARK } from '../kernel/runtime/marks.ts'
import { processEntry } from '../kernel/runtime/process-entry.ts'
import { isAlive, readProcessRecord, readProcessRecords, removeProcessRecord, runDirOf } from '../kernel/runtime/process-record.ts'
import { socketDir } from '../kernel/runtime/socket-dir.ts'
import { spawnDetached } from '../kernel/runtime/process/spawn-detached.ts'
import type { ReplicaOptions } from '../serving/model-server/replica-options.ts'

const ROWS_MAX = 1_024

/** Model servers as processes of this machine, each reached by its unix socket. */
export function replicaRuntime({ dataDir, artifacts, log }: { dataDir: string; artifacts: Artifacts; log: Log }): ReplicaRuntime {
  const sockets = socketDir(dataDir)
  return {
    async start({ id, token, deploymentId, version, config }) {
      const options: ReplicaOptions = {
        replicaId: id,
        token,
        deploymentId,
        model: version.model,
        version: String(version.number),
        artifactPath: await artifacts.verifiedPath(version.modelDigest),
        digest: version.modelDigest,
        features: singleInputColumns(version.signature),
        socketPath: join(sockets, `${id}.sock`),
        controlSocket: join(sockets, 'control.sock'),
        maxBatchRows: config?.serving.maxBatchRows ?? ROWS_MAX,
        recordPath: join(runDirOf(dataDir), `${id}.json`),
      }
      const path = join(dataDir, 'replicas', `${id}.json`)
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
        env: { ...(process.env as Record<string, string>), ORT_DISABLE_TELEMETRY: '1' },
        logPath: join(dataDir, 'logs', `${id}.log`),
      })
      return { exited: exited.then(() => undefined) }
    },
    async observe(replicaId) {
      const record = readProcessRecord(dataDir, replicaId)
      if (record === null) return 'unknown'
      if (isAlive(record)) return 'alive'
      removeProcessRecord(dataDir, replicaId, record.token)
      return 'dead'
    },
    stop(replicaId, graceMs) {
      const record = readProcessRecord(dataDir, replicaId)
      if (record === null || !isAlive(record)) return
      killTree({ roots: [record], mark: { name: PROCESS_TOKEN_MARK, value: record.token }, graceMs }).catch((error: unknown) =>
        log.error({ replica: replicaId, why: messageOf(error) }, 'a replica could not be stopped'),
      )
    },
    async liveGateways() {
      return readProcessRecords(dataDir)
        .filter((r) => r.role === 'gateway' && isAlive(r))
        .map((r) => r.id)
    },
  }
}

/** The columns that an evaluation found for a model that does not name them itself. */
function singleInputColumns(signature: { inputs: { columns: string[] | null }[] } | null): string[] | null {
  return signature?.inputs.length === 1 ? (signature.inputs[0]?.columns ?? null) : null
}
