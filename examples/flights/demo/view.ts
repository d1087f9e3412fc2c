import type { Writable } from 'node:stream'

/**
 * What people see: a log of what happened and why, one entry for each event with its simulated day; on a terminal also
 * a panel below it that is redrawn and shows where things stand.
 */

export interface Panel {
  calendarMs: number
  /** Days replayed so far, and of how many. */
  day: number
  days: number
  /** E.g. `run-3: train, round 20 of 60`; null: nothing under way. */
  underWay: { text: string; share: number } | null
  /** E.g. `late-flight@3 in the shadow: 1,200 of 2,000 labels`; null: no version is on trial. */
  trial: string | null
  sent: number
  failed: number
  version: string | null
}

const REDRAW_MS = 100
const BAR_CELLS = 30

export class View {
  private readonly out: Writable & { isTTY?: boolean; columns?: number }
  private panel: Panel | null = null
  private panelLines = 0
  private drawnAtMs = Number.NEGATIVE_INFINITY
  private lastDay = ''

  constructor(out: Writable & { isTTY?: boolean; columns?: number }) {
    this.out = out
  }

  /** One event. Lines after the first are indented below it; the day is shown where it changes. */
  tell(calendarMs: number | null, text: string): void {
    const day = calendarMs === null ? '' : new Date(calendarMs).toISOString().slice(0, 10)
    const margin = day === this.lastDay || day === '' ? ' '.repeat(12) : `${day}  `
    this.lastDay = day === '' ? this.lastDay : day
    this.erasePanel()
    this.out.write(`${margin}${text.replaceAll('\n', `\n${' '.repeat(12)}`)}\n`)
    this.drawPanel()
  }

  /** Text as it is. */
  print(text: string): void {
    this.erasePanel()
    this.out.write(`${text}\n`)
    this.drawPanel()
  }

  /** Where things stand now; only drawn on a terminal, and not more often than eyes can follow. */
  show(panel: Panel): void {
    this.panel = panel
    if (this.out.isTTY !== true || performance.now() - this.drawnAtMs < REDRAW_MS) return
    this.erasePanel()
    this.drawPanel()
  }

  /** Takes the panel away for good. */
  end(): void {
    this.erasePanel()
    this.panel = null
  }

  private erasePanel(): void {
    if (this.panelLines > 0) this.out.write(`\x1b[${this.panelLines}A\x1b[J`)
    this.panelLines = 0
  }

  private drawPanel(): void {
    if (this.panel === null || this.out.isTTY !== true) return
    const width = (this.out.columns ?? 80) - 1
    const lines = panelText(this.panel).map((line) => line.slice(0, width))
    this.out.write(`${lines.join('\n')}\n`)
    this.panelLines = lines.length
    this.drawnAtMs = performance.now()
  }
}

export function panelText(panel: Panel): string[] {
  const day = new Date(panel.calendarMs).toISOString().slice(0, 10)
  const replayed = bar(panel.days === 0 ? 0 : panel.day / panel.days)
  return [
    '',
    `  calendar  ${replayed}  ${day}${panel.underWay === null ? '' : ', held'}`,
    panel.underWay === null ? '  training  –' : `  training  ${bar(panel.underWay.share)}  ${panel.underWay.text}`,
    `  on trial  ${panel.trial ?? '–'}`,
    `  requests  ${panel.sent.toLocaleString('en')} sent, ${panel.failed} failed; answered by ${panel.version ?? 'nobody yet'}`,
  ]
}

function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * BAR_CELLS)
  return '█'.repeat(full) + '░'.repeat(BAR_CELLS - full)
}
