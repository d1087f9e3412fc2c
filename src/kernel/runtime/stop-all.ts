import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { INSTANCE_MARK } from './marks.ts'
import { isSameProcessAlive, type ProcessIdentity } from './process-identity.ts'
import { isAlive, readProcessRecords, removeProcessRecord, type ProcessRecord } from './process-record.ts'
import { findTree, killTree } from './process/kill-tree.ts'
import { instanceOf, socketDir } from './socket-dir.ts'

export interface StopOptions {
  /** How long a gateway may take to finish what it is answering. */
  drainMs?: number
  /** How long the control plane, then all others, may take. */
  graceMs?: number
  onStopped?: (record: ProcessRecord) => void
  /** When aborted, no more waiting: SIGKILL. */
  hurry?: AbortSignal
}

const DRAIN_MS = 15_000
const GRACE_MS = 5_000
const SUPERVISOR_MS = 60_000
const LOOK_MS = 20

/**
 * Stops everything of a data directory, in this order: supervisor (which does the same, if it still works), gateways,
 * control plane, replicas, steps and jobs; then removes records and sockets. Needs none of them to be alive, since it
 * goes by `run/` and by the marks in the processes' environment.
 * @returns the records of what was alive
 * @throws ProcessSurvivedError
 */
export async function stopAll(dataDir: string, options: StopOptions = {}): Promise<ProcessRecord[]> {
  const others = readProcessRecords(dataDir).filter((record) => record.pid !== process.pid)
  const alive = others.filter(isAlive)
  const stop = async (role: ProcessRecord['role'], graceMs: number) => {
    const ofRole = alive.filter((record) => record.role === role)
    await Promise.all(ofRole.map((record) => stopProcess(record, graceMs, options.hurry)))
    for (const record of ofRole) options.onStopped?.(record)
  }
  // A supervisor first, as it would start again what is stopped here.
  await stop('supervisor', SUPERVISOR_MS)
  await stop('gateway', options.drainMs ?? DRAIN_MS)
  await stop('control-plane', options.graceMs ?? GRACE_MS)
  const rest = alive.filter((record) => !['supervisor', 'gateway', 'control-plane'].includes(record.role))
  await stopRest(dataDir, rest, options)
  removeRecordsOfTheDead(dataDir)
  removeSockets(dataDir)
  return alive
}

/** Read again: a control plane may have started something between the first look and its own end. */
function removeRecordsOfTheDead(dataDir: string): void {
  const dead = readProcessRecords(dataDir).filter((record) => !isAlive(record))
  for (const { id, token } of dead) removeProcessRecord(dataDir, id, token)
}

/** The pids of everything that runs for this data directory, besides this process and those above it. */
export function findAll(dataDir: string): Promise<number[]> {
  const roots = readProcessRecords(dataDir).filter(isAlive)
  return findTree({ roots: [], mark: markOf(dataDir) }).then((marked) => [
    ...new Set([...marked, ...roots.map((root) => root.pid)]),
  ])
}

/** SIGTERM to one process alone, not to what it has started, then SIGKILL; returns when it is gone. */
export async function stopProcess(identity: ProcessIdentity, graceMs: number, hurry?: AbortSignal): Promise<void> {
  const deadline = performance.now() + graceMs
  if (isSameProcessAlive(identity)) process.kill(identity.pid, 'SIGTERM')
  while (isSameProcessAlive(identity)) {
    if (performance.now() > deadline || hurry?.aborted === true) return killOne(identity)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

async function killOne(identity: ProcessIdentity): Promise<void> {
  const deadline = performance.now() + GRACE_MS
  while (isSameProcessAlive(identity) && performance.now() < deadline) {
    process.kill(identity.pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

async function stopRest(dataDir: string, rest: readonly ProcessRecord[], options: StopOptions): Promise<void> {
  const graceMs = options.hurry?.aborted === true ? 0 : (options.graceMs ?? GRACE_MS)
  // By the mark alone first, which finds also what was started before the first record.
  await killTree({ roots: [], mark: markOf(dataDir), graceMs, hurry: options.hurry })
  await killTree({ roots: rest, graceMs, hurry: options.hurry })
  for (const record of rest) options.onStopped?.(record)
}

const markOf = (dataDir: string) => ({ name: INSTANCE_MARK, value: instanceOf(dataDir) })

function removeSockets(dataDir: string): void {
  const dir = socketDir(dataDir)
  for (const name of readdirSync(dir)) {
    if (/\.(sock|frames)$/.test(name)) rmSync(join(dir, name), { force: true })
  }
}
