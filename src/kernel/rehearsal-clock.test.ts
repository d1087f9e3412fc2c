import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeFileAtomic } from './runtime/atomic-file.ts'
import { calendarAt, changed, KEEP_STALE_MS, openClock, readRehearsal, writeRehearsal } from './rehearsal-clock.ts'
import type { Rehearsal } from './rehearsal-clock.ts'

const JAN_2001 = Date.UTC(2001, 0, 1)
const DAY = 86_400_000

describe('a rehearsal', () => {
  const running: Rehearsal = { calendarMs: 1_000, anchoredEpochMs: 50_000, rate: 10, held: false }

  it('runs at its rate, and stands still while held', () => {
    expect(calendarAt(running, 50_100)).toBe(2_000)
    expect(calendarAt({ ...running, held: true }, 50_100)).toBe(1_000)
  })

  it('stands still where nobody keeps it, and where real time went back', () => {
    expect(calendarAt(running, 50_000 + KEEP_STALE_MS + 3_600_000)).toBe(1_000 + KEEP_STALE_MS * 10)
    expect(calendarAt(running, 40_000)).toBe(1_000)
  })

  it('keeps its place when it is held and released', () => {
    const held = changed(running, { kind: 'hold' }, 50_100)
    expect(held).toEqual({ calendarMs: 2_000, anchoredEpochMs: 50_100, rate: 10, held: true })
    const released = changed(held, { kind: 'release' }, 99_000)
    expect(calendarAt(released, 99_001)).toBe(2_010)
  })

  it('advances while held', () => {
    const held = changed(running, { kind: 'hold' }, 50_000)
    expect(changed(held, { kind: 'advance', ms: 500 }, 51_000)).toMatchObject({ calendarMs: 1_500, held: true })
  })

  it('refuses to go back', () => {
    expect(() => changed(running, { kind: 'set', calendarMs: 1_999 }, 50_100)).toThrow(/cannot go back to 1970/)
    expect(() => changed(running, { kind: 'advance', ms: -1 }, 50_100)).toThrow(/cannot go back/)
    expect(changed(running, { kind: 'set', calendarMs: 2_000, rate: 0 }, 50_100)).toMatchObject({
      calendarMs: 2_000,
      rate: 0,
    })
  })
})

describe('the clock of a process', () => {
  let dataDir: string
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'millrace-clock-'))
  })
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }))
  const seen = () => new Promise((resolve) => setTimeout(resolve, 100))

  it('is the system clock without a rehearsal', async () => {
    const clock = await openClock(dataDir)
    expect(Math.abs(clock.calendarMs() - Date.now())).toBeLessThan(50)
    clock.close()
  })

  it('follows changes made by other processes, and leaves real time alone', async () => {
    const clock = await openClock(dataDir)
    await writeRehearsal(dataDir, { kind: 'set', calendarMs: JAN_2001, rate: 0 })
    await seen()
    expect(clock.calendarMs()).toBe(JAN_2001)
    await writeRehearsal(dataDir, { kind: 'advance', ms: DAY })
    await seen()
    expect(clock.calendarMs()).toBe(JAN_2001 + DAY)
    expect(Math.abs(clock.epochMs() - Date.now())).toBeLessThan(50)
    clock.close()
  })

  it('never goes back, even if the file does', async () => {
    await writeRehearsal(dataDir, { kind: 'set', calendarMs: JAN_2001, rate: 0 })
    const clock = await openClock(dataDir)
    expect(clock.calendarMs()).toBe(JAN_2001)
    const earlier = { ...readRehearsal(dataDir), calendarMs: JAN_2001 - DAY }
    writeFileAtomic(join(dataDir, 'clock.json'), JSON.stringify(earlier))
    await seen()
    expect(clock.calendarMs()).toBe(JAN_2001)
    clock.close()
  })

  it('goes on after a stop where it was, without jumping over it', async () => {
    const longAgo = { calendarMs: JAN_2001, anchoredEpochMs: Date.now() - 3_600_000, rate: 1_000, held: false }
    writeFileAtomic(join(dataDir, 'clock.json'), JSON.stringify(longAgo))
    const clock = await openClock(dataDir, { keep: true })
    expect(clock.calendarMs() - JAN_2001).toBeLessThan(1_000 * 1_000)
    clock.close()
  })

  it('keeps all changes that several make at the same time', async () => {
    await writeRehearsal(dataDir, { kind: 'set', calendarMs: JAN_2001, rate: 0 })
    await Promise.all(Array.from({ length: 8 }, () => writeRehearsal(dataDir, { kind: 'advance', ms: 1_000 })))
    expect(readRehearsal(dataDir)?.calendarMs).toBe(JAN_2001 + 8_000)
  })
})
