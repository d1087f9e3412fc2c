import type { Evidence } from './crash-run.ts'
import type { Traffic } from './traffic.ts'
import type { Changes } from './changes.ts'

/** The figures of one run of the suite as lines of a Markdown table: for the terminal and for docs/reference. */
export function figuresTable(evidence: Evidence, traffic: Traffic, changes: Changes): string {
  return [recoveryTable(evidence), countsTable(evidence, traffic, changes)].join('\n\n')
}

function recoveryTable({ kills }: Evidence): string {
  const kinds = [...new Set(kills.map(({ kind }) => kind))].toSorted()
  const rows = kinds.map((kind) => {
    const own = kills.filter((kill) => kill.kind === kind)
    const [p50, max] = middleAndLast(own.flatMap(({ recoveryMs }) => recoveryMs ?? []))
    const [p50Alone, maxAlone] = middleAndLast(
      own.filter(({ alone }) => alone).flatMap(({ recoveryMs }) => recoveryMs ?? []),
    )
    return [kind, String(own.length), p50, max, p50Alone, maxAlone]
  })
  return table(['killed', 'times', 'back p50', 'max', 'alone: p50', 'max'], rows)
}

function countsTable(
  { seed, rounds, tookMs, lake, control, controlGapMs, leftBehind }: Evidence,
  traffic: Traffic,
  changes: Changes,
): string {
  const rows: [string, string | number][] = [
    ['rounds', `${rounds} in ${(tookMs / 1000).toFixed(0)} s, seed ${seed}`],
    ['requests sent', traffic.sent],
    ['failed', traffic.failedWithoutStop().length],
    [
      'answered with 503 while Millrace was being started after `down`',
      traffic.failed.length - traffic.failedWithoutStop().length,
    ],
    ['interrupted by a killed gateway', traffic.interrupted.length - traffic.interruptedWithoutKill().length],
    ['interrupted otherwise', traffic.interruptedWithoutKill().length],
    ['longest time without an answer while only the control plane or the supervisor was dead', inSeconds(controlGapMs)],
    ['predictions acknowledged', traffic.acknowledged.size],
    ['of them lost', lake.lost.length],
    ['doubled', lake.doubled.length],
    ['in the lake though the answer was cut off', lake.unacknowledged],
    ['labels acknowledged', traffic.labelled.size],
    ['of them lost', lake.labelsLost.length],
    ['changes acknowledged', changes.acknowledged.length + changes.landed.length],
    ['of them lost', control.lostChanges.length],
    ['changes whose answer was cut off', changes.unanswered],
    ['runs', control.runs],
    ['steps that succeeded', `${control.steps}, with ${control.attempts} attempts`],
    ['recorded steps run again', control.repeatedSteps.length],
    ['versions, releases', `${control.versions}, ${control.releases}`],
    ['versions taken out of service, of them deleted', `${control.retired}, ${control.deleted}`],
    ['runs and releases that did not end as they should', control.badEnds.length],
    ['processes, sockets and records left after `down`', leftBehind.length],
  ]
  return table(
    ['figure', 'value'],
    rows.map(([name, value]) => [name, typeof value === 'number' ? value.toLocaleString('en') : value]),
  )
}

function middleAndLast(values: number[]): [string, string] {
  if (values.length === 0) return ['–', '–']
  const sorted = values.toSorted((a, b) => a - b)
  return [inSeconds(sorted[Math.floor((sorted.length - 1) / 2)]!), inSeconds(sorted.at(-1)!)]
}

const inSeconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`

function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}
