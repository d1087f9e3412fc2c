import { setTimeout as sleep } from 'node:timers/promises'

import type { ReleaseView } from '../api/release-schemas.ts'
import type { RunView } from '../api/run-schemas.ts'
import type { VersionView } from '../api/version-schemas.ts'
import type { ControlApi } from '../client/control-plane.ts'
import type { Cli } from './cli.ts'
import { WaitedTooLongError } from './errors.ts'
import { nextFor, verdictOn } from './next-step.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { patiently, PATIENCE_MS } from './patience.ts'
import { describeChanges, progressLine } from './run-lines.ts'
import { showGate } from './show-gate.ts'
import { duration, plainText } from './text.ts'
import { isTried, nextForTried } from './tried.ts'

const LOOK_MS = 250

/**
 * Shows a run until nothing more will follow by itself, or its version is tried under live traffic: steps, version,
 * verdict, release.
 * On a terminal one line is drawn over; elsewhere each change is a line of its own.
 */
export async function followRun(cli: Cli, id: string, timeoutMs: number): Promise<ExitCode> {
  const { api } = await cli.connect(PATIENCE_MS)
  const stop = onInterrupt(cli, id)
  try {
    const run = await watchRun(cli, api, id, timeoutMs)
    const { version: ref, release: releaseId } = run.outcome
    const version = ref === null ? null : await api.versions.get({ ref })
    const release = releaseId === null ? null : await api.releases.get({ id: releaseId })
    if (cli.json) cli.document({ run, version, release })
    else showOutcome(cli, run, version, release)
    return exitCodeOfRun(run, version)
  } finally {
    stop()
  }
}

async function watchRun(cli: Cli, api: ControlApi, id: string, timeoutMs: number): Promise<RunView> {
  const endsAtMs = performance.now() + timeoutMs
  let seen: RunView | null = null
  for (;;) {
    const run = await patiently(() => api.runs.get({ id }))
    if (!cli.json) report(cli, seen, run)
    if (run.outcome.settled || isTried(run.outcome.releaseStatus)) return run
    if (performance.now() > endsAtMs) throw new WaitedTooLongError(id, duration(timeoutMs))
    seen = run
    await sleep(LOOK_MS)
  }
}

function report(cli: Cli, before: RunView | null, now: RunView): void {
  const lines = describeChanges(before, now)
  if (cli.interactive) process.stdout.write('\r\u001b[K')
  for (const line of lines) cli.text(line)
  if (cli.interactive && !now.outcome.settled) process.stdout.write(progressLine(now, cli.width ?? 80))
}

function showOutcome(cli: Cli, run: RunView, version: VersionView | null, release: ReleaseView | null): void {
  if (version !== null && version.gate !== null) showGate(cli, version.gate)
  if (release !== null && release.status === 'released') {
    const lead = release.leadTimeMs === null ? '' : `, ${duration(release.leadTimeMs)} after training ended`
    cli.line(`${cli.status('released')}: ${release.version} answers ${release.endpoint}${lead}`)
    return
  }
  if (version === null) {
    cli.text(`${run.id}: ${cli.status(run.status)}${reason(run.why ?? run.outcome.why)}`)
    if (run.status === 'failed') cli.line(`  millrace logs ${run.id}`)
    return
  }
  const what =
    release === null
      ? version.release === 'none'
        ? version.standing
        : version.release
      : `${release.id} ${release.status}`
  cli.text(`${version.ref}: ${cli.status(what)}${reason(release?.why ?? version.releaseWhy ?? run.outcome.why)}`)
  if (release !== null && isTried(release.status)) for (const line of nextForTried(release)) cli.line(line)
  if (release === null) for (const line of nextFor(version.ref, verdictOn(version))) cli.line(line)
}

const reason = (why: string | null) => (why === null ? '' : `: ${plainText(why)}`)

function exitCodeOfRun(run: RunView, version: VersionView | null): ExitCode {
  if (run.status !== 'succeeded' || version === null) return EXIT.failed
  const { release, releaseStatus } = run.outcome
  if (releaseStatus === 'held') return EXIT.needsPerson
  if (release !== null) return releaseStatus === 'released' || isTried(releaseStatus) ? EXIT.ok : EXIT.failed
  if (version.release === 'awaiting-approval') return EXIT.needsPerson
  return version.status === 'passed' ? EXIT.ok : EXIT.failed
}

function onInterrupt(cli: Cli, id: string): () => void {
  const leave = () => {
    cli.note(`\n${id} goes on. Follow its output: millrace logs ${id} -f. Stop it: millrace runs cancel ${id}.`)
    process.exit(EXIT.interrupted)
  }
  process.once('SIGINT', leave)
  return () => void process.off('SIGINT', leave)
}
