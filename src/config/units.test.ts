import { expect, it } from 'vitest'
import { durationMs, sizeBytes } from './units.ts'

it('reads durations in every unit', () => {
  expect(['500ms', '2s', '15m', '1.5h', '7d', '2w', '10 s'].map(durationMs)).toEqual([
    500, 2_000, 900_000, 5_400_000, 604_800_000, 1_209_600_000, 10_000,
  ])
})

it('reads sizes by thousands and by 1024', () => {
  expect(['512B', '1kB', '1KB', '200MB', '16MiB', '1.5GB'].map(sizeBytes)).toEqual([
    512, 1_000, 1_000, 200_000_000, 16_777_216, 1_500_000_000,
  ])
})

it('takes nothing else for a duration or a size', () => {
  for (const text of ['', '5', '-5s', '5 parsecs', 's', '1e3s', '5s ', '0x10s', '5M', '１s'])
    expect(durationMs(text)).toBeNull()
  for (const text of ['', '5', '-5MB', '5mb', 'MB', '1e3MB', '5 M']) expect(sizeBytes(text)).toBeNull()
})
