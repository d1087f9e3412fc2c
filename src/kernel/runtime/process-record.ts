import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import { readIfThere, writeFileAtomic } from './atomic-file.ts'
import { errnoOf } from './system-error.ts'
import { ProcessRecordError } from './errors.ts'
import { isSameProcessAlive, type ProcessIdentity } from './process-identity.ts'

/**
 * `run/<id>.json`: one file for each process that was started for this data directory, written by whoever started it
 * as soon as there is a pid. Whoever comes after a crash knows from these files what still runs.
 */
export interface ProcessRecord extends ProcessIdentity {
  /** `control-plane`, `gateway`, `replica-9`, `run-12.train.1`, … : letters, digits, `.`, `_`, `-`. */
  id: string
  role: ProcessRole
  /** Drawn anew for each start: a process that answers with it is the one that was meant. */
  token: string
  /** Where it answers `GET /identity`; null for those that serve nothing (steps, jobs). */
  socketPath: string | null
  startedAtMs: number
  /** Id of the process that started it. */
  parent?: string
}

export type ProcessRole = 'supervisor' | 'control-plane' | 'gateway' | 'replica' | 'step' | 'job'

export const runDirOf = (dataDir: string): string => join(dataDir, 'run')

export function writeProcessRecord(dataDir: string, record: ProcessRecord): void {
  mkdirSync(runDirOf(dataDir), { recursive: true, mode: 0o700 })
  writeFileAtomic(pathOf(dataDir, record.id), JSON.stringify(record), { durable: false })
}

/** @param token - given, only the record of that very start is removed, not one of a successor */
export function removeProcessRecord(dataDir: string, id: string, token?: string): void {
  if (token !== undefined && readProcessRecord(dataDir, id)?.token !== token) return
  rmSync(pathOf(dataDir, id), { force: true })
}

export function readProcessRecord(dataDir: string, id: string): ProcessRecord | null {
  const path = pathOf(dataDir, id)
  const text = readIfThere(path)
  return text === null ? null : parseRecord(text, path)
}

/** Every record, of living processes and dead ones, sorted by id. */
export function readProcessRecords(dataDir: string): ProcessRecord[] {
  return recordNames(runDirOf(dataDir))
    .map((name) => readProcessRecord(dataDir, name))
    .filter((record) => record !== null)
}

/** Whether that process, and not another with its pid, runs. */
export const isAlive = (record: ProcessRecord): boolean => isSameProcessAlive(record)

/**
 * Whether the process behind the record answers on its socket with the same id and token. False also for one that
 * hangs longer than `timeoutMs`.
 */
export function handshake(record: ProcessRecord, timeoutMs: number): Promise<boolean> {
  const { socketPath } = record
  if (socketPath === null) return Promise.resolve(false)
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(timeoutMs)
    // An error here is the answer "no": nobody listens, or it takes too long.
    const no = () => resolve(false)
    const call = request({ socketPath, path: '/identity', agent: false, signal }, (response) => {
      readUpTo(response, IDENTITY_BYTES_MAX).then((text) => resolve(saysSo(text, record)), no)
    })
    call.on('error', no)
    call.end()
  })
}

/** What `GET /identity` answers, as JSON. */
export interface Identity {
  id: string
  token: string
  pid: number
}

const IDENTITY_BYTES_MAX = 4096

function pathOf(dataDir: string, id: string): string {
  if (!/^[\w][\w.-]{0,199}$/.test(id)) throw new ProcessRecordError(id, 'that is no process id')
  return join(runDirOf(dataDir), `${id}.json`)
}

function recordNames(runDir: string): string[] {
  try {
    const names = readdirSync(runDir).filter((name) => name.endsWith('.json'))
    return names.map((name) => name.slice(0, -'.json'.length)).sort()
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return []
    throw thrown
  }
}

function parseRecord(text: string, path: string): ProcessRecord {
  let record: Partial<ProcessRecord> | null
  try {
    record = JSON.parse(text) as Partial<ProcessRecord> | null
  } catch (thrown) {
    throw new ProcessRecordError(path, messageOf(thrown), thrown)
  }
  const { id, pid, startTime, token } = record ?? {}
  const complete = typeof id === 'string' && typeof startTime === 'string' && typeof token === 'string'
  // Signals to pid 0 and 1 and to negative ones reach others than one process.
  if (!complete || !Number.isInteger(pid) || (pid ?? 0) < 2) throw new ProcessRecordError(path, 'fields are missing')
  return record as ProcessRecord
}

function saysSo(text: string, record: ProcessRecord): boolean {
  try {
    const identity = JSON.parse(text) as Partial<Identity> | null
    return identity?.id === record.id && identity.token === record.token
  } catch {
    // Whoever answers something else is somebody else.
    return false
  }
}

async function readUpTo(stream: AsyncIterable<Buffer>, limitBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > limitBytes) throw new Error(`more than ${limitBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
