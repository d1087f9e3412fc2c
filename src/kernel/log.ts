import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { destination, pino, type Logger } from 'pino'

/** What code may log with: an object of facts first, then one sentence. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'> & { child(facts: Record<string, unknown>): Log }

export interface LogOptions {
  /** `control-plane`, `gateway`, `replica-9`, … : in every line. */
  process: string
  /** Appended to; standard output unless said, which the supervisor leads to `logs/<process>.log`. */
  path?: string
  level?: 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

const secrets = ['token', '*.token', 'password', '*.password', 'authorization', '*.authorization', 'databaseUrl']

/**
 * Lines of JSON, each on its way to the file before the call returns, so that the last words of a killed process are
 * there. A full disk costs lines, not the process.
 */
export function openLog({ process: name, path, level = levelFromEnvironment() }: LogOptions): Log {
  if (path !== undefined) mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const file = destination({ dest: path ?? 1, append: true, sync: true })
  // Without a listener the error would end the process. There is nowhere left to write it to.
  file.on('error', () => {})
  const base = { process: name, pid: process.pid }
  return pino({ level, base, redact: secrets, timestamp: () => `,"at":"${new Date().toISOString()}"` }, file)
}

export const silentLog: Log = pino({ level: 'silent' })

/** Warns of each thing once, for as long as no more than a hundred others came since. */
export function warnOnce(log: Pick<Log, 'warn'>): (text: string) => void {
  const said = new Set<string>()
  return (text) => {
    if (said.has(text)) return
    if (said.size > 100) said.clear()
    said.add(text)
    log.warn(text)
  }
}

function levelFromEnvironment(): NonNullable<LogOptions['level']> {
  const wanted = process.env['MILLRACE_LOG_LEVEL']
  return levels.find((level) => level === wanted) ?? 'info'
}

const levels = ['debug', 'info', 'warn', 'error', 'silent'] as const
