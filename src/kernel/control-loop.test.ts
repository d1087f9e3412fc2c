import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { backoffMs, controlLoop, type ControlLoopOptions } from './control-loop.ts'
import { createWakeBus } from './wake-bus.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function loop(run: ControlLoopOptions['run'], more: Partial<ControlLoopOptions> = {}) {
  return controlLoop({ name: 'test', everyMs: 1_000, run, onError: () => {}, ...more })
}
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

it('looks at once, then at its interval, or sooner where the look says so', async () => {
  let looks = 0
  const running = loop(async () => {
    looks++
    return looks === 2 ? 10 : undefined
  })
  await pass(0)
  expect(looks).toBe(1)
  await pass(1_000)
  expect(looks).toBe(2)
  await pass(10)
  expect(looks).toBe(3)
  await pass(999)
  expect(looks).toBe(3)
  await running.stop()
})

it('looks at once when woken, and never twice at a time', async () => {
  let [looks, atATime, most] = [0, 0, 0]
  const running = loop(async () => {
    looks++
    most = Math.max(most, ++atATime)
    await new Promise((resolve) => setTimeout(resolve, 100))
    atATime--
  })
  await pass(50)
  running.wake()
  running.wake()
  await pass(49)
  expect(looks).toBe(1)
  await pass(10)
  expect(looks).toBe(2)
  await pass(200)
  expect(looks).toBe(2)
  running.wake()
  await pass(0)
  expect(looks).toBe(3)
  expect(most).toBe(1)
  await pass(100)
  await running.stop()
})

it('tells each failure and slows down, also when woken, until a look succeeds', async () => {
  const told: number[] = []
  let broken = true
  let looks = 0
  const running = loop(
    async () => {
      looks++
      if (broken) throw new Error('no')
    },
    { onError: (_, { againInMs }) => told.push(againInMs) },
  )
  await pass(0)
  running.wake()
  await pass(99)
  expect(looks).toBe(1)
  await pass(1)
  await pass(200)
  await pass(400)
  expect(told).toEqual([100, 200, 400, 800])
  broken = false
  await pass(800)
  running.wake()
  await pass(0)
  expect(looks).toBe(6)
  expect(backoffMs(50)).toBe(10_000)
  await running.stop()
})

it('waits at the end for the look under way, which is told by its signal', async () => {
  const order: string[] = []
  const running = loop(async (signal) => {
    signal.addEventListener('abort', () => order.push('told'))
    await new Promise((resolve) => setTimeout(resolve, 300))
    order.push('look ended')
  })
  await pass(0)
  const stopping = running.stop().then(() => order.push('stopped'))
  await pass(300)
  await stopping
  expect(order).toEqual(['told', 'look ended', 'stopped'])
  await pass(5_000)
  expect(order).toHaveLength(3)
})

it('does not wait forever for a look that does not end', async () => {
  const running = loop(() => new Promise(() => {}))
  await pass(0)
  const stopping = running.stop(2_000).catch((error: unknown) => error)
  await pass(2_000)
  expect(await stopping).toMatchObject({ code: 'MR_LOOP_STUCK' })
})

it('is woken over the bus, outside of what its waker is doing', async () => {
  vi.useRealTimers()
  const bus = createWakeBus<'run' | 'release'>()
  const scope = new AsyncLocalStorage<string>()
  const seen: (string | undefined)[] = []
  const running = loop(async () => void seen.push(scope.getStore()), {
    everyMs: 60_000,
    wakeOn: [(wake) => bus.on('run', wake)],
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  scope.run('transaction', () => {
    bus.wake('release')
    bus.wake('run')
    running.wake()
  })
  expect(seen).toEqual([undefined])
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(seen.length).toBeGreaterThanOrEqual(2)
  expect(seen.every((store) => store === undefined)).toBe(true)
  await running.stop()
  const looks = seen.length
  bus.wake('run')
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(seen).toHaveLength(looks)
})
