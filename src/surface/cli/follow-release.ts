import { setTimeout as sleep } from 'node:timers/promises'

import type { ReleaseView } from '../api/release-schemas.ts'
import type { Cli } from './cli.ts'
import { WaitedTooLongError } from './errors.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { patiently, PATIENCE_MS } from './patience.ts'
import { duration, plainText } from './text.ts'
import { isTried, nextForTried } from './tried.ts'

const LOOK_MS = 200

/** Shows a release until it has ended, or is tried under live traffic, which may take days. @param timeoutMs - 0: only say that it has started */
export async function followRelease(cli: Cli, started: ReleaseView, timeoutMs: number): Promise<ExitCode> {
  if (!cli.json) cli.line(describe(cli, started))
  const release = timeoutMs === 0 ? started : await untilEnded(cli, started, timeoutMs)
  if (cli.json) cli.document(release)
  if (!cli.json && isTried(release.status)) for (const line of nextForTried(release)) cli.line(line)
  if (release.status === 'held') return EXIT.needsPerson
  return isOver(release) && release.status !== 'released' ? EXIT.failed : EXIT.ok
}

async function untilEnded(cli: Cli, started: ReleaseView, timeoutMs: number): Promise<ReleaseView> {
  const { api } = await cli.connect(PATIENCE_MS)
  const endsAtMs = performance.now() + timeoutMs
  let seen = started
  while (!isOver(seen) && !isTried(seen.status)) {
    if (performance.now() > endsAtMs) throw new WaitedTooLongError(started.id, duration(timeoutMs))
    await sleep(LOOK_MS)
    const now = await patiently(() => api.releases.get({ id: started.id }))
    if (now.status === 'released' && !isOver(now)) continue
    if (!cli.json && (now.status !== seen.status || now.why !== seen.why)) cli.line(describe(cli, now))
    seen = now
  }
  return seen
}

const OVER: ReleaseView['status'][] = ['released', 'failed', 'rolled-back', 'superseded', 'cancelled']
/** Released is what answers requests: a route that was flipped reaches the gateways some milliseconds later. */
const isOver = ({ status, routed }: ReleaseView) => OVER.includes(status) && (status !== 'released' || routed)

function describe(cli: Cli, release: ReleaseView): string {
  const what =
    release.kind === 'rollback'
      ? `rollback of ${release.endpoint} to ${release.version}`
      : `${release.version} to ${release.endpoint}`
  return `${release.id}  ${what}  ${cli.status(release.status)}${release.why === null ? '' : `  ${plainText(release.why)}`}`
}
