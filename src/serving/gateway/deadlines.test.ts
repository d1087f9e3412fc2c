import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancellation } from '../front/cancellation.ts'
import { Deadlines } from './deadlines.ts'

function lab() {
  vi.useFakeTimers({ now: 0, toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  return new Deadlines()
}

afterEach(() => vi.useRealTimers())

const reasons = (cancellations: Cancellation[]) => cancellations.map(({ reason }) => reason)

describe('deadlines', () => {
  it('cancel each request in its own time, though those with the same timeout share a timer', () => {
    const deadlines = lab()
    const [first, second, shorter] = [new Cancellation(), new Cancellation(), new Cancellation()]
    deadlines.set(first, 100)
    vi.advanceTimersByTime(40)
    deadlines.set(second, 100)
    deadlines.set(shorter, 10)
    expect(vi.getTimerCount()).toBe(2)
    vi.advanceTimersByTime(9)
    expect(reasons([first, second, shorter])).toEqual([null, null, null])
    vi.advanceTimersByTime(1)
    expect(reasons([first, second, shorter])).toEqual([null, null, 'deadline'])
    vi.advanceTimersByTime(50)
    expect(reasons([first, second])).toEqual(['deadline', null])
    vi.advanceTimersByTime(40)
    expect(reasons([first, second])).toEqual(['deadline', 'deadline'])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('that were cleared cancel nobody, wherever they stood, and may be cleared again', () => {
    const deadlines = lab()
    const requests = Array.from({ length: 4 }, () => new Cancellation())
    const set = requests.map((request) => deadlines.set(request, 100))
    deadlines.clear(set[1]!)
    deadlines.clear(set[0]!)
    deadlines.clear(set[3]!)
    deadlines.clear(set[3]!)
    deadlines.clear(set[1]!)
    vi.advanceTimersByTime(100)
    expect(reasons(requests)).toEqual([null, null, 'deadline', null])
  })

  it('are set again by whom they cancel', () => {
    const deadlines = lab()
    const [first, next] = [new Cancellation(), new Cancellation()]
    first.onCancel(() => void deadlines.set(next, 100))
    deadlines.set(first, 100)
    vi.advanceTimersByTime(100)
    expect(reasons([first, next])).toEqual(['deadline', null])
    vi.advanceTimersByTime(100)
    expect(reasons([next])).toEqual(['deadline'])
  })

  it('leave no timer behind for each of the many times that clients ask for', () => {
    const deadlines = lab()
    for (let timeoutMs = 1_000; timeoutMs < 2_000; timeoutMs++)
      deadlines.clear(deadlines.set(new Cancellation(), timeoutMs))
    expect(vi.getTimerCount()).toBeLessThanOrEqual(64)
  })
})
