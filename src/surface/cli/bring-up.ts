import path from 'node:path'

import { holdoutWarning } from '../../config/holdout-in-training.ts'
import { loadProject, type LoadedProject } from '../../config/load.ts'
import { readRehearsal, writeRehearsal } from '../../kernel/rehearsal-clock.ts'
import { prepareDataDir } from '../../kernel/runtime/data-dir.ts'
import { tryProcessLock } from '../../kernel/runtime/process-lock.ts'
import { runSupervisor } from '../../processes/supervisor.ts'
import type { SupervisorEvent } from '../../processes/supervised-child.ts'
import { SupervisorRunningError } from '../../processes/supervisor-errors.ts'
import { announceUp } from './announce-up.ts'
import { childrenOf, type Plan } from './children-of.ts'
import type { Cli } from './cli.ts'
import { bringUpDetached } from './detach.ts'
import { StartTimedOutError } from './errors.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { findConfigFolder, findDataDir } from './find-project.ts'
import { missingFiles } from './missing-files.ts'
import { duration } from './text.ts'
import { checkTls } from './tls-files.ts'
import type { UpOptions } from './up-options.ts'
import { watchEvents } from './watch-events.ts'

/**
 * `millrace up`: checks the configuration before anything is started, then runs the supervisor until it is stopped.
 * @throws ConfigError, SupervisorRunningError, what a process that can't start says, StartTimedOutError
 */
export async function bringUp(cli: Cli, options: UpOptions): Promise<ExitCode> {
  const loaded = await loadProject({ configPath: cli.globals.config ?? findConfigFolder(cli.cwd), cwd: cli.cwd })
  const given = cli.globals.dataDir ?? cli.env['MILLRACE_DATA_DIR']
  const dataDir = findDataDir({ dataDir: given, config: loaded.sourcePath, cwd: cli.cwd })
  const notice = checkTls(loaded.project.root, loaded.project.gateway.tls, Date.now())
  if (notice !== null) cli.note(cli.style('yellow', notice))
  for (const model of loaded.project.models) {
    for (const warning of [holdoutWarning(model), ...missingFiles(model, loaded.project.root)])
      if (warning !== null) cli.note(`${cli.style('yellow', `${model.name}:`)} ${warning}`)
  }
  prepareDataDir(dataDir)
  await refuseSecond(dataDir)
  if (options.rehearseMs !== null) await beginRehearsal(dataDir, options.rehearseMs)
  if (options.detach) return bringUpDetached(cli, { ...options, dataDir, configPath: loaded.sourcePath })
  return runInForeground(cli, options, loaded, dataDir)
}

async function runInForeground(
  cli: Cli,
  options: UpOptions,
  loaded: LoadedProject,
  dataDir: string,
): Promise<ExitCode> {
  cli.outlivesItsWords = true // its log lies on the data directory's disk, and it starts again what dies there
  const plan: Plan = {
    dataDir,
    loaded,
    by: cli.by,
    databaseUrl: cli.env['MILLRACE_DATABASE_URL'] ?? null,
    port: options.port ?? loaded.project.gateway.port,
    apiPort: options.apiPort,
    applied: false,
  }
  const stop = new AbortController()
  let late = false
  const tooLate = setTimeout(() => {
    late = true
    stop.abort()
  }, options.timeoutMs)
  const ended = new AbortController()
  let announced: Promise<void> = Promise.resolve()
  let adopted = false
  cli.note(
    `starting ${loaded.project.name} on ${path.relative(cli.cwd, dataDir) || dataDir} (the first start takes some seconds)`,
  )
  const onEvent = (event: SupervisorEvent): void => {
    tell(cli, event)
    if (event.kind === 'adopted' && event.id === 'control-plane') adopted = true
    if (event.kind === 'ready' && event.id === 'control-plane') plan.applied = !adopted || plan.applied
    if (event.kind === 'stopping') ended.abort()
    if (event.kind !== 'all-ready') return
    clearTimeout(tooLate)
    const banner = announceUp(cli, plan, adopted, ended.signal)
    const events = watchEvents(cli, dataDir, banner, ended.signal)
    announced = Promise.all([banner, events]).then(
      () => undefined,
      (error: unknown) => cli.warn(error),
    )
  }
  try {
    await runSupervisor({ dataDir, children: childrenOf(plan), onEvent, signal: stop.signal })
    await announced
    if (late) throw new StartTimedOutError(duration(options.timeoutMs), path.join(dataDir, 'logs'))
    return EXIT.ok
  } finally {
    clearTimeout(tooLate)
    ended.abort()
  }
}

/** Before anything is written: the supervisor would refuse as well, but a rehearsal must not be moved under another. */
async function refuseSecond(dataDir: string): Promise<void> {
  const attempt = await tryProcessLock(path.join(dataDir, 'supervisor.lock'))
  if (attempt.kind === 'busy') throw new SupervisorRunningError(dataDir, attempt.holder)
  attempt.lock.release()
}

/** A rehearsal that was begun before goes on where it was: the same command may be given again after a stop. */
async function beginRehearsal(dataDir: string, calendarMs: number): Promise<void> {
  const current = readRehearsal(dataDir)
  if (current !== null && current.calendarMs >= calendarMs) return
  await writeRehearsal(dataDir, { kind: 'set', calendarMs, rate: 1 })
}

/** What concerns people: not that something was started, but that it died and is started again. */
function tell(cli: Cli, event: SupervisorEvent): void {
  if (cli.json) return cli.record({ type: 'process', ...event })
  switch (event.kind) {
    case 'adopted':
      return cli.note(`${event.id} still ran (pid ${event.pid}) and goes on`)
    case 'exited':
      return cli.note(
        `${cli.style('yellow', event.id)} ended${event.code === null ? '' : ` with ${event.code}`}; started again in ${duration(event.againInMs)}`,
      )
    case 'not-started':
      return cli.note(
        `${cli.style('red', event.id)} cannot be started: ${event.why}; tried again in ${duration(event.againInMs)}`,
      )
    case 'stopping':
      return cli.note(`stopping (${event.why}); a second Ctrl-C stops hard`)
    case 'stopped':
      return cli.note(`stopped ${event.id}`)
    case 'started':
    case 'ready':
    case 'all-ready':
      return
  }
}
