import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Cancellation } from '../front/cancellation.ts'
import { sheddingLimits } from './decide-shedding.ts'
import { WaitingLine } from './waiting-line.ts'
import type { Waited } from './waiting-line.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function lineOf(most = 4) {
  const line = new WaitingLine<string>(most, sheddingLimits, () => performance.now())
  const ends: string[] = []
  const wait = (name: string, priority = 1): void => {
    const body = Buffer.from(JSON.stringify({ parameters: { priority } }))
    const waited = line.wait(1_000, new Cancellation(), { body, jsonBytes: null })
    const note = (end: Waited<string>): void => void ends.push(`${name} ${end.kind}`)
    if (waited instanceof Promise) void waited.then(note)
    else note(waited)
  }
  return { line, ends, wait }
}

const settled = () => vi.advanceTimersByTimeAsync(0)

describe('those who wait', () => {
  it('are served in the order in which they came', async () => {
    const { line, ends, wait } = lineOf()
    for (const name of ['a', 'b', 'c']) wait(name)
    line.serve('r')
    line.serve('r')
    await settled()
    expect(ends).toEqual(['a served', 'b served'])
    expect(line.length).toBe(1)
  })

  it('are not more than may be: who comes then is told when to come again', async () => {
    const { line, ends, wait } = lineOf(2)
    line.endedPerSecond = 1
    for (const name of ['a', 'b', 'c']) wait(name)
    await settled()
    expect(ends).toEqual(['c full'])
    expect(line.retryAfterMs).toBe(2_000)
    expect(line.shed).toBe(1)
  })

  it('make room for a higher priority: the newest of the lowest goes', async () => {
    const { line, ends, wait } = lineOf(3)
    wait('low', 5)
    wait('low too', 5)
    wait('middle', 3)
    wait('high', 1)
    wait('lowest', 9)
    await settled()
    expect(ends).toEqual(['lowest full', 'low too full'])
    for (let i = 0; i < 3; i++) line.serve('r')
    await settled()
    expect(ends.slice(2)).toEqual(['low served', 'middle served', 'high served'])
  })
})

describe('a line that stands', () => {
  it('is cut to what is worked off within the target, once all have waited too long for half a second', async () => {
    const { line, ends, wait } = lineOf(1_024)
    line.endedPerSecond = 100
    for (let i = 0; i < 60; i++) wait(`old ${i}`)
    await vi.advanceTimersByTimeAsync(150)
    line.serve('r')
    await vi.advanceTimersByTimeAsync(500)
    line.serve('r')
    wait('new')
    await settled()
    expect(ends).toEqual(['old 0 served', 'new full', 'old 1 served'])
  })

  it('is as good as new after one who was served without waiting for long', async () => {
    const { line, ends, wait } = lineOf(1_024)
    line.endedPerSecond = 100
    for (let i = 0; i < 60; i++) wait(`old ${i}`)
    await vi.advanceTimersByTimeAsync(150)
    line.serve('r')
    await vi.advanceTimersByTimeAsync(500)
    line.isEasy()
    wait('new')
    await settled()
    expect(ends).toEqual(['old 0 served'])
  })
})
