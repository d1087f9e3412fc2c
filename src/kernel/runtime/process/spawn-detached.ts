import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { asDataDirError } from '../data-dir.ts'
import { SpawnError } from '../errors.ts'
import { INSTANCE_MARK, PROCESS_TOKEN_MARK, processMark } from '../marks.ts'
import { startTimeOfChild } from '../process-identity.ts'
import { writeProcessRecord, type ProcessRecord } from '../process-record.ts'
import { instanceOf } from '../socket-dir.ts'

export interface DetachedOptions extends Pick<ProcessRecord, 'id' | 'role' | 'token' | 'socketPath' | 'parent'> {
  dataDir: string
  command: string
  args: readonly string[]
  /** The whole environment of the child; see `environmentFor` for a white list. The marks are added. */
  env: Record<string, string>
  cwd?: string
  /** Output is appended here. Files, not pipes: a pipe would break, and its reader with it, when this process dies. */
  logPath: string
}

export interface DetachedProcess {
  record: ProcessRecord
  /** Resolves when it has ended, as long as this process lives to see it; never rejects. */
  exited: Promise<ExitStatus>
}

/** A signal counts as 128 + its number, as in a shell. */
export interface ExitStatus {
  code: number
  signal: NodeJS.Signals | null
}

/**
 * Starts a process in a session and group of its own, so that Ctrl-C in the terminal reaches only its parent and that
 * it lives on when the parent dies; and writes its record.
 * @throws SpawnError; DataDirError where log or record can't be written
 */
export async function spawnDetached(options: DetachedOptions): Promise<DetachedProcess> {
  const log = openLog(options.logPath)
  let child: ChildProcess
  try {
    child = spawn(options.command, options.args, {
      cwd: options.cwd,
      env: { ...options.env, ...marksOf(options) },
      detached: true,
      stdio: ['ignore', log, log],
    })
  } finally {
    closeSync(log)
  }
  const exited = exitOf(child)
  const pid = await pidOf(child, options.command)
  const { id, role, token, socketPath, parent } = options
  const startTime = startTimeOfChild(pid)
  const record = { id, role, pid, startTime, token, socketPath, startedAtMs: Date.now(), parent }
  try {
    writeProcessRecord(options.dataDir, record)
  } catch (thrown) {
    await disown(child, exited)
    throw asDataDirError(thrown, options.dataDir)
  }
  return { record, exited }
}

/** Ends a child of which no record could be written, as on a full disk: nobody would know of it. */
export async function disown(child: ChildProcess, exited: Promise<ExitStatus>): Promise<void> {
  child.kill('SIGKILL')
  await exited
}

/**
 * The variables of `env` that a child may see: those named, and those that start with a prefix named as `LC_*`.
 */
export function environmentFor(names: readonly string[], env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const exact = new Set(names)
  const prefixes = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))
  const entries = Object.entries(env).filter((entry): entry is [string, string] => {
    const [name, value] = entry
    return value !== undefined && (exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix)))
  })
  return Object.fromEntries(entries)
}

/** Resolves once the process has ended and its pipes are closed. */
export function exitOf(child: ChildProcess): Promise<ExitStatus> {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => {
      resolve({ code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), signal })
    })
  })
}

/** @throws SpawnError */
export function pidOf(child: ChildProcess, command: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new SpawnError(command, error.message, error)))
    child.on('spawn', () => resolve(child.pid!))
  })
}

export function marksOf({
  dataDir,
  id,
  token,
}: {
  dataDir: string
  id: string
  token: string
}): Record<string, string> {
  const instance = instanceOf(dataDir)
  const mark = processMark(instance, id)
  return { [INSTANCE_MARK]: instance, [mark.name]: mark.value, [PROCESS_TOKEN_MARK]: token }
}

function openLog(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    return openSync(path, 'a', 0o600)
  } catch (thrown) {
    throw asDataDirError(thrown, path)
  }
}
