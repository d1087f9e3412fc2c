import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { panelText, View, type Panel } from './view.ts'

const panel: Panel = {
  calendarMs: Date.UTC(2001, 1, 12),
  day: 15,
  days: 150,
  underWay: { text: 'run-2: train round 30 of 60', share: 0.5 },
  trial: null,
  sent: 3_000,
  failed: 0,
  version: '1',
}

describe('the live view', () => {
  it('writes the day where it changes and indents what belongs to it', () => {
    const { view, text } = viewOn({ isTTY: false })
    view.tell(Date.UTC(2001, 1, 12), 'landed')
    view.tell(Date.UTC(2001, 1, 12), 'trained\npassed')
    view.tell(Date.UTC(2001, 1, 13), 'next')
    expect(text()).toBe('2001-02-12  landed\n            trained\n            passed\n2001-02-13  next\n')
  })

  it('draws no panel and no control characters where there is no terminal', () => {
    const { view, text } = viewOn({ isTTY: false })
    view.show(panel)
    view.tell(null, 'event')
    view.end()
    expect(text()).toBe('            event\n')
  })

  it('keeps the panel below the events on a terminal, cut to its width', () => {
    const { view, text } = viewOn({ isTTY: true, columns: 60 })
    view.show(panel)
    view.tell(Date.UTC(2001, 1, 12), 'landed')
    const [, afterErase] = text().split('\x1b[5A\x1b[J')
    expect(afterErase).toMatch(/^2001-02-12 {2}landed\n\n {2}calendar /)
    expect(
      Math.max(
        ...text()
          .split('\n')
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(70)
    view.end()
    expect(text().endsWith('\x1b[5A\x1b[J')).toBe(true)
  })

  it('shows how far the replay and the training are', () => {
    const [, calendar, training, trial, requests] = panelText(panel)
    expect(calendar).toBe(`  calendar  ${'█'.repeat(3)}${'░'.repeat(27)}  2001-02-12, held`)
    expect(training).toContain(`${'█'.repeat(15)}${'░'.repeat(15)}  run-2: train round 30 of 60`)
    expect(trial).toBe('  on trial  –')
    expect(panelText({ ...panel, trial: 'late-flight@2 in the shadow' })[3]).toContain('late-flight@2 in the shadow')
    expect(requests).toContain('3,000 sent, 0 failed; answered by 1')
  })
})

function viewOn(terminal: { isTTY: boolean; columns?: number }): { view: View; text: () => string } {
  const out = Object.assign(new PassThrough(), terminal)
  let written = ''
  out.on('data', (chunk: Buffer) => (written += chunk.toString()))
  return { view: new View(out), text: () => written }
}
