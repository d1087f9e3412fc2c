import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { PROCESS_MARK, PROCESS_TOKEN_MARK } from '../marks.ts'
import { startTimeOfChild } from '../process-identity.ts'
import { killTree } from './kill-tree.ts'
import { exitOf, pidOf } from './spawn-detached.ts'

export interface LoggedCommand {
  command: readonly string[]
  cwd: string
  /** Laid over this process's own. */
  env: Record<string, string>
  /** null: no file. */
  logPath: string | null
  timeoutMs: number
  signal?: AbortSignal
  onLine?: (line: string) => void
}

const LAST_LINES = 12
const STOP_GRACE_MS = 1_000

/**
 * Runs a command to its end with its output by lines. It dies with its time-out, with `signal`, and with everything
 * that it has started.
 * @throws SpawnError; the signal's reason
 */
export async function runLogged(
  options: LoggedCommand,
): Promise<{ code: number; timedOut: boolean; lastLines: string }> {
  const [program = '', ...args] = options.command
  const token = randomBytes(16).toString('hex')
  const env = { ...process.env, ...options.env, [PROCESS_MARK]: 'command', [PROCESS_TOKEN_MARK]: token }
  const child = spawn(program, args, { cwd: options.cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = exitOf(child)
  const pid = await pidOf(child, program)
  const root = { pid, startTime: startTimeOfChild(pid) }
  const output = collectLines([child.stdout, child.stderr], options)
  // Awaited below: a log that can't be written must not count as unhandled until then.
  output.catch(() => {})

  const time = AbortSignal.timeout(Math.ceil(options.timeoutMs))
  const stop = options.signal === undefined ? time : AbortSignal.any([time, options.signal])
  await Promise.race([ended, aborted(stop)])
  const timedOut = time.aborted && child.exitCode === null
  await killTree({ roots: [root], mark: { name: PROCESS_TOKEN_MARK, value: token }, graceMs: STOP_GRACE_MS })
  const { code } = await ended
  const lastLines = await output
  options.signal?.throwIfAborted()
  return { code, timedOut, lastLines }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
    if (signal.aborted) resolve()
  })
}

async function collectLines(streams: NodeJS.ReadableStream[], { logPath, onLine }: LoggedCommand): Promise<string> {
  const log = logPath === null ? null : openSync(logPath, 'a', 0o600)
  const last: string[] = []
  const read = async (stream: NodeJS.ReadableStream) => {
    for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
      if (log !== null) writeSync(log, `${line}\n`)
      onLine?.(line)
      last.push(line)
      if (last.length > LAST_LINES) last.shift()
    }
  }
  try {
    await Promise.all(streams.map(read))
  } finally {
    if (log !== null) closeSync(log)
  }
  return last.join('\n')
}
