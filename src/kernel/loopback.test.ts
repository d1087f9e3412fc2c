import { expect, it } from 'vitest'
import { isLoopbackAddress } from './loopback.ts'

it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1'])('%s is this machine', (address) => {
  expect(isLoopbackAddress(address)).toBe(true)
})

it.each(['', '128.0.0.1', '10.127.0.0.1', '127.0.0.1.example', '::ffff:10.0.0.1', '::2', '1127.0.0.1'])(
  '%j is another',
  (address) => {
    expect(isLoopbackAddress(address)).toBe(false)
  },
)
