import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { ServingInput } from '../config/input.ts'
import type { ReplicaRuntime } from '../control/release/replica-runtime.ts'
import { openFsArtifacts } from '../kernel/artifacts/fs/fs-artifacts.ts'
import { readProcessRecord } from '../kernel/runtime/process-record.ts'
import { readProcessTable } from '../kernel/runtime/process/process-table.ts'
import { socketDir } from '../kernel/runtime/socket-dir.ts'
import { projectOf, versionOf } from '../testing/control-builders.ts'
import { LeaseListener } from '../testing/lease-listener.ts'
import { linearModel, writeModel } from '../testing/onnx-builder.ts'
import { replicaRuntime } from './local-replicas.ts'

/** Model servers as the control plane starts them, by what the configuration says of serving. */

let dataDir: string
let sockets: string
let control: LeaseListener
let runtime: ReplicaRuntime

beforeEach(async () => {
  dataDir = realpathSync(mkdtempSync(join(tmpdir(), 'mr-local-replicas-')))
  sockets = socketDir(dataDir)
  control = await LeaseListener.listen(join(sockets, 'control.sock'))
  runtime = replicaRuntime({ dataDir, artifacts: openFsArtifacts(join(dataDir, 'artifacts')) })
})
afterEach(async () => {
  await runtime.stop('replica-1', 5_000)
  await control.close()
  for (const dir of [dataDir, sockets]) rmSync(dir, { recursive: true, force: true })
})

/** Starts a replica of a model that is anything but heavy, waits until it is ready. @returns how many processes it has made */
async function childrenOfReplica(serving: ServingInput): Promise<number> {
  const path = writeModel(join(dataDir, 'model.onnx'), linearModel({ weights: [1, 2] }))
  const { digest: modelDigest, sizeBytes } = await openFsArtifacts(join(dataDir, 'artifacts')).putFile(path)
  const version = versionOf({ modelDigest, sizeBytes, signature: null })
  const [config] = projectOf(dataDir, { m: { train: 'true', serving } }).models
  await runtime.start({ id: 'replica-1', token: 'secret', deploymentId: 'deployment-1', version, config: config! })
  await control.saying('ready')
  const { pid } = readProcessRecord(dataDir, 'replica-1')!
  return (await readProcessTable()).filter(({ parent }) => parent === pid).length
}

it('run a light model themselves, unless the configuration says otherwise', async () => {
  expect(await childrenOfReplica({})).toBe(0)
}, 60_000)

it("run any model in a process of its own with isolate: 'always'", async () => {
  expect(await childrenOfReplica({ isolate: 'always' })).toBe(1)
}, 60_000)
