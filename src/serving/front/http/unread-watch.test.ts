import type { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { UnreadWatch } from './unread-watch.ts'

it('finds a client that stands still, not one that is slow, nor one that has nothing to read', () => {
  const socket = { bytesWritten: 1_000, writableLength: 0 }
  const watch = new UnreadWatch(socket as Socket, 100)
  const at = (nowMs: number, writableLength: number, bytesWritten = socket.bytesWritten): boolean => {
    Object.assign(socket, { writableLength, bytesWritten })
    return watch.isOverdue(nowMs)
  }
  expect([at(1_000, 0), at(5_000, 0)]).toEqual([false, false])
  expect([at(5_010, 500), at(5_100, 500), at(5_105, 400), at(5_200, 400)]).toEqual([false, false, false, false])
  // A piece went and another of the same size came.
  expect([at(5_204, 400, 1_400), at(5_303, 400)]).toEqual([false, false])
  expect(at(5_304, 400)).toBe(true)
  expect([at(5_305, 0), at(9_000, 0), at(9_001, 400)]).toEqual([false, false, false])
})
