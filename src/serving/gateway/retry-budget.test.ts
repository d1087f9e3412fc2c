import { describe, expect, it } from 'vitest'
import { RetryBudget } from './retry-budget.ts'

function retriesLeft(budget: RetryBudget, nowMs: number): number {
  let retries = 0
  while (retries < 100_000 && budget.takeRetry(nowMs)) retries += 1
  return retries
}

function request(budget: RetryBudget, times: number, nowMs: number): void {
  for (let i = 0; i < times; i++) budget.countRequest(nowMs)
}

describe('the retries of a deployment', () => {
  it('are a fifth of its requests, and a hundred in ten seconds in any case', () => {
    const idle = new RetryBudget()
    expect(retriesLeft(idle, 5_000_000)).toBe(100)
    const busy = new RetryBudget()
    request(busy, 5_000, 5_000_000)
    expect(retriesLeft(busy, 5_000_000)).toBe(100 + 1_000)
    expect(busy.refused).toBe(1)
  })

  it('are counted over the last ten seconds, second by second', () => {
    const budget = new RetryBudget()
    for (let second = 0; second < 10; second++) request(budget, 100, second * 1_000)
    expect(retriesLeft(budget, 9_999)).toBe(100 + 200)
    expect(retriesLeft(budget, 10_000)).toBe(0) // 100 requests are old, the retries are not
    request(budget, 50, 12_000)
    expect(retriesLeft(budget, 19_000)).toBe(100 + 10)
  })

  it('forgets everything after a long rest', () => {
    const budget = new RetryBudget()
    request(budget, 5_000, 0)
    retriesLeft(budget, 0)
    expect(retriesLeft(budget, 1_000_000_000)).toBe(100)
  })

  it('keep an outage from being multiplied: of 1,000 requests a second that all fail, few are sent twice', () => {
    const budget = new RetryBudget()
    let sent = 0
    for (let ms = 0; ms < 60_000; ms++) {
      budget.countRequest(ms)
      sent += 1
      for (let attempt = 2; attempt <= 3 && budget.takeRetry(ms); attempt++) sent += 1
    }
    expect(sent / 60_000).toBeGreaterThan(1.19)
    expect(sent / 60_000).toBeLessThan(1.22)
  })
})
