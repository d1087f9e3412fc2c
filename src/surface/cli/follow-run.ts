import { setTimeout as sleep } from 'node:timers/promises'

import type { GateView, ReleaseView, RunView } from '../api/schemas.ts'
import type { ControlApi } from '../client/control-plane.ts'
import type { Cli } from './cli.ts'
import { WaitedTooLongError } from './errors.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { patiently, PATIENCE_MS } from './patience.ts'
import { describeChanges, progressLine } from './run-lines.ts'
import { duration, figures, number, time } from './text.ts'

const LOOK_MS = 250

/**
 * Shows a run until nothing more will follow by itself: steps, version, verdict, release.
 * On a terminal one line is drawn over; elsewhere each change is a line of its own.
 */
export async function followRun(cli: Cli, id: string, timeoutMs: number): Promise<ExitCode> {
  const { api } = await cli.connect(PATIENCE_MS)
  const stop = onInterrupt(cli, id)
  try {
    const run = await watchRun(cli, api, id, timeoutMs)
    const gate = run.outcome.version === null ? null : await api.gates.get({ ref: run.outcome.version })
    const release = run.outcome.release === null ? null : await api.releases.get({ id: run.outcome.release })
    if (cli.json) cli.document({ run, gate, release })
    else showOutcome(cli, run, gate, release)
    return exitCodeOfRun(run)
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
    if (run.outcome.settled) return run
    if (performance.now() > endsAtMs) throw new WaitedTooLongError(id, duration(timeoutMs))
    seen = run
    await sleep(LOOK_MS)
  }
}

function report(cli: Cli, before: RunView | null, now: RunView): void {
  const lines = describeChanges(before, now)
  if (cli.interactive) process.stdout.write('\r\u001b[K')
  for (const line of lines) cli.line(line)
  if (cli.interactive && !now.outcome.settled) process.stdout.write(progressLine(now, cli.width ?? 80))
}

function showOutcome(cli: Cli, run: RunView, gate: GateView | null, release: ReleaseView | null): void {
  if (gate !== null) showGate(cli, gate)
  if (release !== null && release.status === 'released') {
    const lead = release.leadTimeMs === null ? '' : `, ${duration(release.leadTimeMs)} after training ended`
    cli.line(`${cli.status('released')}: ${release.version} answers ${release.endpoint}${lead}`)
    return
  }
  const { version, status, why } = run.outcome
  const subject = version ?? run.id
  const what =
    release === null ? (version === null ? run.status : (status ?? run.status)) : `${release.id} ${release.status}`
  cli.line(`${subject}: ${cli.status(what)}${why === null ? (run.why === null ? '' : `: ${run.why}`) : `: ${why}`}`)
}

/** A verdict with its checks, as `train` and `gate show` print it. */
export function showGate(cli: Cli, gate: GateView): void {
  cli.line(`${cli.style('bold', gate.version)}  ${cli.status(gate.verdict ?? 'undecided')}  ${gate.why}`)
  const against = gate.champion === null ? '' : `, against ${gate.champion}`
  const rows = gate.rows === null ? '' : ` on ${number(gate.rows)} rows`
  if (Object.keys(gate.metrics).length > 0) cli.line(`measured${rows}${against}: ${figures(gate.metrics)}`)
  if (gate.championMetrics !== null) cli.line(`${gate.champion}: ${figures(gate.championMetrics)}`)
  cli.table(
    gate.checks,
    [
      { title: 'check', value: (c) => c.name },
      { title: 'verdict', value: (c) => c.verdict, style: (text) => cli.status(text) },
      { title: 'why', value: (c) => c.why },
      { title: 'figures', value: (c) => figures(c.figures) },
    ],
    'no checks',
  )
  const { approval } = gate
  if (approval !== null)
    cli.line(`${cli.status(approval.decision)} by ${approval.by} at ${time(approval.atMs)}: ${approval.why}`)
}

function exitCodeOfRun(run: RunView): ExitCode {
  if (run.status !== 'succeeded') return EXIT.failed
  const { releaseStatus, status, release } = run.outcome
  if (release !== null) return releaseStatus === 'released' ? EXIT.ok : EXIT.failed
  if (status === 'inconclusive') return EXIT.needsPerson
  return status === 'passed' ? EXIT.ok : EXIT.failed
}

function onInterrupt(cli: Cli, id: string): () => void {
  const leave = () => {
    cli.note(`\n${id} goes on. Follow its output: millrace logs ${id} -f. Stop it: millrace runs cancel ${id}.`)
    process.exit(EXIT.interrupted)
  }
  process.once('SIGINT', leave)
  return () => void process.off('SIGINT', leave)
}
