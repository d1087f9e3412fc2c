import { tmpdir } from 'node:os'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { measureFreeBytes, watchFreeSpace } from './disk-space.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('says once that space is low, and again only when there is clearly enough', async () => {
  const measured = [100, 99, 101, 109, 111, 99]
  const changes: [boolean, number][] = []
  const space = watchFreeSpace({
    path: '/',
    minFreeBytes: 100,
    everyMs: 10,
    measure: async () => measured.shift() ?? 99,
    onChange: (low, freeBytes) => changes.push([low, freeBytes]),
  })
  await vi.advanceTimersByTimeAsync(65)
  expect(changes).toEqual([
    [true, 99],
    [false, 111],
    [true, 99],
  ])
  expect(space.low).toBe(true)
  space.close()
  await vi.advanceTimersByTimeAsync(100)
  expect(changes).toHaveLength(3)
})

it('keeps its last answer and tells the error when the file system can not be asked', async () => {
  const errors: unknown[] = []
  const space = watchFreeSpace({
    path: '/',
    minFreeBytes: 1,
    everyMs: 10,
    measure: () => Promise.reject(new Error('gone')),
    onError: (error) => errors.push(error),
  })
  await vi.advanceTimersByTimeAsync(25)
  expect(errors).toHaveLength(2)
  expect(space.low).toBe(false)
  space.close()
})

it('measures the real file system at once', async () => {
  const space = watchFreeSpace({ path: tmpdir(), minFreeBytes: Number.MAX_SAFE_INTEGER })
  expect(space.low).toBe(true)
  expect(space.freeBytes).toBeGreaterThan(0)
  space.close()
  vi.useRealTimers()
  expect(await measureFreeBytes(tmpdir())).toBeGreaterThan(0)
})
