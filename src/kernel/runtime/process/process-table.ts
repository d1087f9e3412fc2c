import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { promisify } from 'node:util'
import type { Mark } from '../marks.ts'
import { errnoOf, isGone } from '../system-error.ts'

/** One process as the system shows it; zombies are left out. */
export interface ProcessRow {
  pid: number
  parent: number
  group: number
  /** 0 where the system doesn't say (macOS). */
  session: number
  /** Grows with the start time; comparable within one boot. */
  started: number
}

/** All processes of the machine, a few milliseconds of work. */
export async function readProcessTable(): Promise<ProcessRow[]> {
  return process.platform === 'linux' ? readFromProc() : readFromPs()
}

/** Of a machine that starts processes all the time. */
const READINGS_MAX = 3

/** Who is forked while the table is read, by one that ends before its turn, would be missed: then it is read again. */
function readFromProc(): ProcessRow[] {
  for (let reading = 1; ; reading++) {
    const before = newestPid()
    const rows = readRows()
    if (reading === READINGS_MAX || newestPid() === before) return rows
  }
}

/** @see proc(5), /proc/loadavg: the last field is the pid that was given last; null where it can't be read */
function newestPid(): string | null {
  return readOrNull('/proc/loadavg')?.split(' ').at(-1) ?? null
}

function readRows(): ProcessRow[] {
  const rows: ProcessRow[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const text = readOrNull(`/proc/${name}/stat`)
    const row = text === null ? null : rowOfStat(text)
    if (row !== null) rows.push(row)
  }
  return rows
}

/** @see proc(5), /proc/pid/stat: fields 3 (state), 4 (parent), 5 (group), 6 (session), 22 (start time) */
export function rowOfStat(text: string): ProcessRow | null {
  const fields = afterName(text)
  if (fields[0] === 'Z' || fields[0] === 'X') return null
  return {
    pid: Number(text.slice(0, text.indexOf(' '))),
    parent: Number(fields[1]),
    group: Number(fields[2]),
    session: Number(fields[3]),
    started: Number(fields[19]),
  }
}

/** The fields after the command's name, which is in parentheses and may hold spaces and parentheses itself. */
export function afterName(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

const PS_TIMEOUT_MS = 5_000

async function readFromPs(): Promise<ProcessRow[]> {
  const columns = 'pid=,ppid=,pgid=,stat=,lstart='
  const { stdout } = await promisify(execFile)('ps', ['-axo', columns], { timeout: PS_TIMEOUT_MS })
  return stdout.split('\n').flatMap((line) => rowOfPs(line) ?? [])
}

/** `  501   1   501 Ss   Mon Nov 23 01:41:00 2026` */
export function rowOfPs(line: string): ProcessRow | null {
  const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line)
  if (match === null || match[4]!.startsWith('Z')) return null
  const [pid, parent, group] = [Number(match[1]), Number(match[2]), Number(match[3])]
  return { pid, parent, group, session: 0, started: Math.floor(Date.parse(match[5]!) / 1000) }
}

/**
 * Which of these processes were started with that mark in their environment. Those of other users can't be read and
 * count as not marked, as does everything on macOS, which doesn't show environments.
 */
export function markedAmong(rows: readonly ProcessRow[], mark: Mark): number[] {
  if (process.platform !== 'linux') return []
  const wanted = `${mark.name}=${mark.value}`
  return rows.filter((row) => environmentOf(row.pid).includes(wanted)).map((row) => row.pid)
}

function environmentOf(pid: number): string[] {
  return readOrNull(`/proc/${pid}/environ`)?.split('\0') ?? []
}

function readOrNull(path: string): string | null {
  try {
    // As text, which Node reads in one call: that is half of the time. What is no text in it is not looked at.
    return readFileSync(path, 'utf8')
  } catch (thrown) {
    if (isGone(thrown) || errnoOf(thrown) === 'EACCES' || errnoOf(thrown) === 'EPERM') return null
    throw thrown
  }
}
