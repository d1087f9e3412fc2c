import { describe, expect, it } from 'vitest'
import type { AlertStatus } from './alert.ts'
import { decideAlert, type Streak } from './decide-alert.ts'
import type { Verdict } from './finding.ts'

/** What becomes of an alert over a series of windows: b(ad), g(ood), i(nsufficient). */
function play(series: string, { raiseAfter = 2, clearAfter = 2 } = {}): string[] {
  let streak: Streak = { bad: 0, good: 0 }
  let open: Exclude<AlertStatus, 'resolved'> | null = null
  return Array.from(series, (letter) => {
    const verdict: Verdict = letter === 'b' ? 'bad' : letter === 'g' ? 'ok' : 'insufficient'
    const { act, ...next } = decideAlert(verdict, streak, open, { raiseAfter, clearAfter })
    streak = next
    if (act === 'note') open = 'pending'
    if (act === 'raise') open = 'firing'
    if (act === 'resolve') open = null
    return open ?? 'none'
  })
}

describe('the hysteresis of a monitor', () => {
  it('raises the alarm at the second bad window in a row and clears it at the second good one', () => {
    expect(play('bbgg')).toEqual(['pending', 'firing', 'firing', 'none'])
  })

  it('never fires for bad windows that do not follow each other', () => {
    expect(play('bgbgbg')).toEqual(['pending', 'none', 'pending', 'none', 'pending', 'none'])
  })

  it('does not flap: one good window among bad ones clears nothing', () => {
    expect(play('bbgbgbgg').slice(1)).toEqual(['firing', 'firing', 'firing', 'firing', 'firing', 'firing', 'none'])
  })

  it('lets windows without a verdict neither raise nor clear', () => {
    expect(play('biib')).toEqual(['pending', 'pending', 'pending', 'firing'])
    expect(play('bbgiig').at(-1)).toBe('none')
    expect(play('iii')).toEqual(['none', 'none', 'none'])
  })

  it('keeps to other numbers', () => {
    expect(play('bgg', { raiseAfter: 1, clearAfter: 1 })).toEqual(['firing', 'none', 'none'])
    expect(play('bbb', { raiseAfter: 3 })).toEqual(['pending', 'pending', 'firing'])
  })
})
