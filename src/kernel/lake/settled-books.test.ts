import { expect, it } from 'vitest'
import type { Reconciliation } from './lake-totals.ts'
import { settledBooks } from './settled-books.ts'

const fast = { doubtMs: 20, lookMs: 2 }

function books(facts: Partial<Reconciliation>): Reconciliation {
  const none = { answered: 5, logged: 5, sampledOut: 0, dropped: 0, inLake: 5, inSpool: 0, labels: 0 }
  return { ...none, labelsMatched: 0, labelsUnmatched: 0, lagMs: 0, manifest: 1, agrees: true, why: null, ...facts }
}

const wrong = books({ logged: 4, agrees: false, why: '1 answered prediction was not logged' })

it('takes books that agree as they are', async () => {
  expect(await settledBooks(async () => books({}), fast)).toEqual(books({}))
})

it('waits for counters that are a moment behind', async () => {
  const seen = [wrong, wrong, books({})]
  expect(await settledBooks(async () => seen.shift()!, fast)).toEqual(books({}))
})

it('does not judge while answers are given', async () => {
  const seen = [wrong, { ...wrong, answered: 6 }]
  expect(await settledBooks(async () => seen.shift()!, fast)).toMatchObject({ answered: 6, agrees: true, why: null })
})

it('believes a difference that stays', async () => {
  expect(await settledBooks(async () => wrong, fast)).toEqual(wrong)
})
