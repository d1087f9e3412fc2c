import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../kernel/stats/random.ts'
import { BodyCollector } from './body-collector.ts'

describe('a body in parts', () => {
  it('is put together byte by byte, whatever the parts and whether its length is known', () => {
    const random = seededRandom(1)
    for (const length of [1, 100, 65_535, 65_536, 65_537, 300_000]) {
      const whole = Buffer.from(Uint8Array.from({ length }, () => random.integer(256)))
      for (const declared of [length, -1]) {
        const collector = new BodyCollector()
        for (let at = 0; at < length;) {
          const end = Math.min(length, at + 1 + random.integer(70_000))
          collector.add(whole.subarray(at, end), declared)
          at = end
          expect(collector.sizeBytes).toBe(at)
        }
        expect(collector.take().equals(whole)).toBe(true)
      }
    }
  })

  it('is not copied when it is one', () => {
    const part = Buffer.from('whole')
    const collector = new BodyCollector()
    collector.add(part, 5)
    expect(collector.take()).toBe(part)
  })

  it('leaves its first part as it was, and takes memory for what has come, not for what was promised', () => {
    const first = Buffer.from('first')
    const collector = new BodyCollector()
    collector.add(first, 1_000_000_000)
    collector.add(Buffer.from('second'), 1_000_000_000)
    expect(first.toString()).toBe('first')
    const bytes = collector.take()
    expect(bytes.toString()).toBe('firstsecond')
    expect(bytes.buffer.byteLength).toBeLessThan(100_000)
  })
})
