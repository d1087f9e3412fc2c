import type { RunView, StepView } from '../api/run-schemas.ts'
import { cutTo, textWidth } from './table.ts'
import { bar, duration, plainText } from './text.ts'

/* What changed between two looks at a run, as lines; and the one line that is drawn over meanwhile. Pure. */

/** @param before - null at the first look: then everything that is there already is told */
export function describeChanges(before: RunView | null, now: RunView): string[] {
  const changed = before?.status !== now.status
  return [
    ...(changed && now.endedAtMs === null ? [statusLine(now)] : []),
    ...now.steps.flatMap((step) =>
      stepLines(
        before?.steps.find((s) => s.name === step.name),
        step,
      ),
    ),
    ...(changed && now.endedAtMs !== null ? [statusLine(now)] : []),
    ...outcomeLines(before, now),
  ].map(plainText)
}

function statusLine(run: RunView): string {
  const took =
    run.endedAtMs === null || run.startedAtMs === null ? '' : ` in ${duration(run.endedAtMs - run.startedAtMs)}`
  return `${run.id}  ${run.status}${took}${run.why === null ? '' : `: ${run.why}`}`
}

function stepLines(before: StepView | undefined, now: StepView): string[] {
  const attempt = now.attempts.at(-1)
  const lines: string[] = []
  for (const ended of now.attempts) {
    const known = before?.attempts.find((a) => a.attempt === ended.attempt)
    const bad = ended.status === 'failed' || ended.status === 'timedOut' || ended.status === 'interrupted'
    if (bad && known?.status !== ended.status)
      lines.push(`  ${now.name}  attempt ${ended.attempt} ${ended.status}: ${ended.why ?? 'no reason recorded'}`)
  }
  if (before?.status === now.status || now.status === 'waiting') return lines
  const took =
    now.endedAtMs === null || now.startedAtMs === null ? '' : ` in ${duration(now.endedAtMs - now.startedAtMs)}`
  const nth = attempt !== undefined && attempt.attempt > 1 ? ` (attempt ${attempt.attempt})` : ''
  return [...lines, `  ${now.name}  ${now.status}${took}${nth}${now.why === null ? '' : `: ${now.why}`}`]
}

function outcomeLines(before: RunView | null, now: RunView): string[] {
  const { version, status, why, release, releaseStatus } = now.outcome
  const was = before?.outcome
  return [
    ...(version !== null && was?.version !== version ? [`${version}  registered`] : []),
    ...(version !== null && status !== null && was?.status !== status
      ? [`${version}  ${status}${why === null || release !== null ? '' : `: ${why}`}`]
      : []),
    ...(release !== null && !isFlipping(now.outcome) && (was?.releaseStatus !== releaseStatus || isFlipping(was))
      ? [`${release}  ${releaseStatus}${why === null ? '' : `: ${why}`}`]
      : []),
  ]
}

/** Released, and some gateway does not route by it yet: that is not told before it is so. */
const isFlipping = (outcome: RunView['outcome'] | undefined): boolean =>
  outcome?.releaseStatus === 'released' && !outcome.settled

/** `train ███████░░░ 62% epoch 3`, cut to the terminal. */
export function progressLine(run: RunView, width: number): string {
  const running = run.steps.filter((s) => s.status === 'running')
  const step = running.find((s) => s.progress !== null) ?? running[0]
  const said = step?.progress ?? null
  const fraction = said?.fraction ?? run.progress
  const what = step?.name ?? run.outcome.releaseStatus ?? run.outcome.status ?? run.status
  const text = plainText(
    `${what} ${bar(fraction, 24)} ${String(Math.round(fraction * 100)).padStart(3)}% ${said?.text ?? ''}`,
  ).trimEnd()
  return textWidth(text) < width ? text : cutTo(text, width - 1)
}
