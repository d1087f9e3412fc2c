import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, readProcessRecords } from '../../src/kernel/runtime/process-record.ts'
import type { Random } from '../../src/kernel/stats/random.ts'
import { nowMs } from '../../src/testing/open-loop.ts'
import type { Installation } from '../harness.ts'

export interface Kill {
  replica: string
  atMs: number
}

const BUSY_SHARE = 0.8

/**
 * SIGKILL to one replica after the other, at random, as long as another one of its deployment is ready: with the last
 * one dead there would be nobody to answer. The next is killed only once its deployment is complete again, or gone.
 */
export class Killer {
  readonly kills: Kill[] = []
  readonly skipped: string[] = []
  private readonly installation: Installation
  private readonly random: Random
  private readonly everyMs: number
  private readonly ended: Promise<void>
  private isOver = false

  constructor(installation: Installation, random: Random, everyMs: number) {
    this.installation = installation
    this.random = random
    this.everyMs = everyMs
    this.ended = this.run()
  }

  async stop(): Promise<void> {
    this.isOver = true
    await this.ended
  }

  private async run(): Promise<void> {
    while (!this.isOver) {
      await sleep(this.everyMs * (0.5 + this.random.uniform()))
      if (!this.isOver) await this.killOne().catch((error: unknown) => this.skipped.push(String(error)))
    }
  }

  private async killOne(): Promise<void> {
    const { replicas, endpoints } = await this.installation.api.status.get()
    const ready = replicas.filter(({ state }) => state === 'ready')
    const able = ready.filter(({ deployment }) => ready.filter((other) => other.deployment === deployment).length > 1)
    // Mostly those that have traffic: the others stand by, and are told from the living only by their lease.
    const busy = new Set(
      endpoints.flatMap(({ members }) => members.flatMap((m) => (m.weightPercent > 0 ? [m.deployment] : []))),
    )
    const spare = this.random.uniform() < BUSY_SHARE ? able.filter(({ deployment }) => busy.has(deployment)) : able
    const chosen = spare[this.random.integer(Math.max(1, spare.length))]
    if (chosen === undefined) return
    const record = readProcessRecords(this.installation.dataDir).find(({ id }) => id === chosen.id)
    if (record === undefined || !isAlive(record)) return
    const atMs = nowMs()
    process.kill(record.pid, 'SIGKILL')
    this.kills.push({ replica: chosen.id, atMs })
    await this.recovered(chosen.deployment, chosen.id)
  }

  private async recovered(deployment: string, lost: string): Promise<void> {
    while (!this.isOver) {
      await sleep(100)
      const { replicas } = await this.installation.api.status.get()
      const own = replicas.filter((replica) => replica.deployment === deployment)
      const isGone = own.every(({ state }) => state === 'draining' || state === 'gone')
      const isComplete = own.filter(({ state, id }) => state === 'ready' && id !== lost).length > 1
      if (isGone || isComplete) return
    }
  }
}

/**
 * For each kill how long requests still went to the dead replica, ms: until the gateway's log says that it sends no
 * more there. Null: it never sent any, or knew before.
 */
export function timesToRemoval({ dataDir }: Installation, kills: Kill[]): (number | null)[] {
  const outs = gatewayLog(dataDir).filter(({ msg }) => msg === 'replica out')
  return kills.map(({ replica, atMs }) => {
    // Times in a log are whole milliseconds.
    const out = outs.find(({ replicaId, at }) => replicaId === replica && Date.parse(at) >= Math.floor(atMs))
    return out === undefined ? null : Math.max(0, Date.parse(out.at) - atMs)
  })
}

interface LogLine {
  msg: string
  /** ISO 8601. */
  at: string
  replicaId?: string
}

function gatewayLog(dataDir: string): LogLine[] {
  const folder = join(dataDir, 'logs')
  const names = readdirSync(folder).filter((name) => name.startsWith('gateway'))
  return names.flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').flatMap(readLine))
}

function readLine(line: string): LogLine[] {
  if (!line.startsWith('{')) return []
  return [JSON.parse(line) as LogLine]
}
