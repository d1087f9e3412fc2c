import { expect, it } from 'vitest'
import { EventQueue } from './event-stream.ts'

function watched(besideBytes = 0) {
  const seen = { left: 0, held: [] as number[] }
  const queue = new EventQueue(() => (seen.left += 1), besideBytes)
  queue.onHeld((bytes) => seen.held.push(bytes))
  return { queue, seen }
}

const bytes = (count: number) => Buffer.alloc(count, 'x')

it('gives events in their order, as they come, and ends after the last', async () => {
  const { queue, seen } = watched()
  queue.push(bytes(1))
  const heard: number[] = []
  const reading = (async () => {
    for await (const event of queue) heard.push(event.length)
  })()
  await Promise.resolve()
  queue.push(bytes(2))
  queue.push(bytes(3))
  queue.end()
  queue.push(bytes(4))
  await reading
  expect(heard).toEqual([1, 2, 3])
  expect(seen.left).toBe(0)
})

it('holds what nobody has read, and the event that is being read until the next is asked for', async () => {
  const { queue, seen } = watched()
  queue.push(bytes(100))
  queue.push(bytes(20))
  await queue.next()
  expect(seen.held).toEqual([0, 100, 120])
  await queue.next()
  expect(seen.held.at(-1)).toBe(20)
  queue.end()
  expect(await queue.next()).toMatchObject({ done: true })
  expect(seen.held.at(-1)).toBe(0)
})

it('holds the request besides, as long as there may be more events', async () => {
  const { queue, seen } = watched(1_000)
  queue.push(bytes(100))
  await queue.next()
  queue.end()
  expect(seen.held).toEqual([1_000, 1_100, 100])
  const left = watched(1_000)
  await left.queue.return()
  expect(left.seen.held).toEqual([1_000, 0])
})

it('tells of a reader that stops early, be it before it has begun, and lets go of what it held', async () => {
  const { queue, seen } = watched()
  queue.push(bytes(100))
  await queue.return()
  queue.push(bytes(50))
  expect(seen).toEqual({ left: 1, held: [0, 100, 0] })
  expect(await queue.next()).toMatchObject({ done: true })
})

it('does not call a reader early that stops once nothing more comes', async () => {
  const { queue, seen } = watched()
  queue.push(bytes(100))
  queue.end()
  await queue.return()
  expect(seen).toEqual({ left: 0, held: [0, 100, 0] })
})
