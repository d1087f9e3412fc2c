import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { MillraceError } from '../../kernel/errors.ts'
import type { StatusView } from '../api/status-schemas.ts'
import { connectControlPlane } from '../client/control-plane.ts'
import { RemoteError } from '../client/errors.ts'
import { announceEndpoint, canBeCalled } from './announce-up.ts'
import type { UpOptions } from './up-options.ts'
import type { Cli } from './cli.ts'
import { DetachedEndedError, StartTimedOutError } from './errors.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { grpcAddress } from './grpc-address.ts'
import { duration } from './text.ts'

const LOOK_MS = 200
/** What is not serving by then is told as it is. */
const SERVING_MS = 30_000

/** The same `up` in a session of its own, its output in `logs/up.log`; returns once endpoints have their addresses. */
export async function bringUpDetached(
  cli: Cli,
  options: UpOptions & { dataDir: string; configPath: string },
): Promise<ExitCode> {
  const { dataDir, timeoutMs } = options
  const logPath = path.join(dataDir, 'logs', 'up.log')
  mkdirSync(path.dirname(logPath), { recursive: true, mode: 0o700 })
  const logStart = statSync(logPath, { throwIfNoEntry: false })?.size ?? 0
  const child = start(options, logPath)
  const status = await untilUp(child, dataDir, timeoutMs, () => endedEarly(child, logPath, logStart))
  child.unref()
  if (cli.json)
    cli.document({ pid: child.pid, dataDir, logPath, apiUrl: status.controlPlane.apiUrl, endpoints: status.endpoints })
  else {
    cli.line(`${cli.style('green', 'Millrace is up')}  pid ${child.pid}, log ${logPath}`)
    const { api } = connectControlPlane({ dataDir })
    for (const endpoint of status.endpoints) await announceEndpoint(cli, api, endpoint)
    const grpc = grpcAddress(status.endpoints)
    if (grpc !== null) cli.line(`gRPC  ${grpc}`)
    cli.line(cli.style('dim', 'millrace down stops it'))
  }
  return EXIT.ok
}

function start(
  { dataDir, configPath, port, apiPort, timeoutMs }: UpOptions & { dataDir: string; configPath: string },
  logPath: string,
): ChildProcess {
  const log = openSync(logPath, 'a', 0o600)
  try {
    const main = process.argv[1] ?? fileURLToPath(new URL('./main.ts', import.meta.url))
    const args = ['up', '--json', '--config', configPath, '--data-dir', dataDir, '--timeout', `${timeoutMs}ms`]
    if (port !== null) args.push('--port', String(port))
    args.push(...(apiPort === null ? ['--no-api'] : ['--api-port', String(apiPort)]))
    return spawn(process.execPath, [...process.execArgv, main, ...args], {
      cwd: path.dirname(configPath),
      detached: true,
      stdio: ['ignore', log, log],
    })
  } finally {
    closeSync(log)
  }
}

async function untilUp(
  child: ChildProcess,
  dataDir: string,
  timeoutMs: number,
  failure: () => MillraceError,
): Promise<StatusView> {
  const { api } = connectControlPlane({ dataDir })
  const endsAtMs = performance.now() + timeoutMs
  const servingByMs = performance.now() + Math.min(SERVING_MS, timeoutMs)
  for (;;) {
    await sleep(LOOK_MS)
    if (child.exitCode !== null || child.signalCode !== null) throw failure()
    const status = await api.status.get().catch((error: unknown) => {
      if (error instanceof MillraceError && error.kind === 'unavailable') return null // not up yet
      throw error
    })
    const addressed = status !== null && status.endpoints.every((e) => e.url !== null)
    if (addressed && (status.endpoints.every(canBeCalled) || performance.now() > servingByMs)) return status
    if (performance.now() > endsAtMs) throw new StartTimedOutError(duration(timeoutMs), path.join(dataDir, 'logs'))
  }
}

/** What it said last, as it said it. */
function endedEarly(child: ChildProcess, logPath: string, logStart: number): MillraceError {
  const said = readFileSync(logPath).subarray(logStart).toString('utf8').trimEnd().split('\n')
  const line = said.findLast((text) => text.startsWith('{"error":'))
  if (line !== undefined)
    return new RemoteError((JSON.parse(line) as { error: ConstructorParameters<typeof RemoteError>[0] }).error)
  return new DetachedEndedError(child.exitCode ?? child.signalCode ?? 'unknown', logPath)
}
