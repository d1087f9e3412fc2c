import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterName, rowOfStat } from './process/process-table.ts'
import { isGone } from './system-error.ts'

/** A pid alone is not an identity, since pids are used again; with the start time it is. */
export interface ProcessIdentity {
  pid: number
  /** Opaque: equal for the same process, different for any other with that pid, also after a reboot. */
  startTime: string
}

/** The start time of a running process; null where there is none (a zombie counts as none). */
export function processStartTime(pid: number): string | null {
  return process.platform === 'linux' ? startTimeFromProc(pid) : startTimeFromPs(pid)
}

export function isSameProcessAlive(identity: ProcessIdentity): boolean {
  return processStartTime(identity.pid) === identity.startTime
}

export function ownIdentity(): ProcessIdentity {
  const startTime = processStartTime(process.pid)
  if (startTime === null) throw new Error(`Cannot read the start time of this process (${process.pid}).`)
  return { pid: process.pid, startTime }
}

/** Of a child that this process has started and not yet seen end: it may be a zombie, but its pid can't be reused. */
export function startTimeOfChild(pid: number): string {
  if (process.platform !== 'linux') return startTimeFromPs(pid) ?? 'ended'
  const fields = afterName(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  return startTimeOf({ started: Number(fields[19]) })
}

/** A start time as `ProcessRow.started` has it; null for one from another boot, which no running process has. */
export function startedOf(startTime: string): number | null {
  if (process.platform !== 'linux') return Math.floor(Date.parse(startTime) / 1000)
  const [boot, ticks] = startTime.split('-')
  return boot === bootId() ? Number(ticks) : null
}

function startTimeFromProc(pid: number): string | null {
  try {
    const row = rowOfStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    return row === null ? null : startTimeOf(row)
  } catch (thrown) {
    if (isGone(thrown)) return null
    throw thrown
  }
}

/** The start time of a row of this boot's process table. Linux only. */
export const startTimeOf = (row: { started: number }): string => `${bootId()}-${row.started}`

let boot: string | null = null
/** Start ticks count from boot: without it, a machine that always boots alike could take one process for another. */
export function bootId(): string {
  if (process.platform !== 'linux') return '-'
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8)
  return boot
}

function startTimeFromPs(pid: number): string | null {
  const result = spawnSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8', timeout: 5_000 })
  if (result.error !== undefined) throw result.error
  const line = result.stdout.trim()
  return line === '' || line.startsWith('Z') ? null : line.slice(line.indexOf(' ')).trim()
}
