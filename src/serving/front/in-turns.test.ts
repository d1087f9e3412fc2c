import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { InTurns } from './in-turns.ts'

function* steps(count: number, done: number[] = []): Generator<undefined, { count: number }, undefined> {
  for (let step = 0; step < count; step += 1) {
    done.push(step)
    yield
  }
  return { count }
}

const always = (): boolean => true

describe('work that is done in turns', () => {
  it('gives what it makes', async () => {
    expect(await new InTurns().run(steps(1_000), always)).toEqual({ count: 1_000 })
  })

  it('lets others in between, also where a step takes longer than a turn', async () => {
    const done: number[] = []
    const work = new InTurns({ turnMs: 0, atOnce: 1 }).run(steps(50, done), always)
    const seen: number[] = []
    while (done.length < 50) {
      await nextTurn()
      seen.push(done.length)
    }
    await work
    expect(new Set(seen).size).toBe(50)
  })

  it('is not begun, nor gone on with, once nobody wants it', async () => {
    const done: number[] = []
    expect(await new InTurns().run(steps(10, done), () => false)).toBeNull()
    expect(done).toEqual([])
    expect(await new InTurns({ turnMs: 0, atOnce: 1 }).run(steps(10, done), () => done.length < 3)).toBeNull()
    expect(done).toEqual([0, 1, 2])
  })

  it('is so much at once, the rest in its order', async () => {
    const turns = new InTurns({ turnMs: 0, atOnce: 2 })
    const begun: string[] = []
    function* named(name: string): Generator<undefined, { name: string }, undefined> {
      begun.push(name)
      yield* steps(3)
      begun.push(`${name} ended`)
      return { name }
    }
    const all = await Promise.all(['a', 'b', 'c'].map((name) => turns.run(named(name), always)))
    expect(all.map((each) => each?.name)).toEqual(['a', 'b', 'c'])
    expect(begun.slice(0, 3)).toEqual(['a', 'b', 'a ended'])
    expect(begun.indexOf('c')).toBeGreaterThan(2)
  })

  it('fails as its steps fail, and holds nobody up after that', async () => {
    const turns = new InTurns({ turnMs: 0, atOnce: 1 })
    // oxlint-disable-next-line require-yield
    const failing = (function* (): Generator<undefined, object, undefined> {
      throw new Error('no such step')
    })()
    await expect(turns.run(failing, always)).rejects.toThrow('no such step')
    expect(await turns.run(steps(2), always)).toEqual({ count: 2 })
  })
})
