import { expect, it } from 'vitest'
import { errorTextOf } from './error-text.ts'

const said = (body: string, lettersMax = 100): string => errorTextOf({ body: Buffer.from(body) }, lettersMax)

it('is the text of the error, or the body as it stands where it has another form', () => {
  expect(said('{"error":"too hot"}')).toBe('too hot')
  expect(said('{"detail":"too hot"}')).toBe('{"detail":"too hot"}')
  expect(said('{"error":{"code":3}}')).toBe('{"error":{"code":3}}')
  expect(said(' Bad gateway\n')).toBe('Bad gateway')
  expect(said('null')).toBe('null')
  expect(said('')).toBe('')
})

it('is cut to the letters that are asked for', () => {
  expect(said(JSON.stringify({ error: 'x'.repeat(5_000) }), 10)).toBe('x'.repeat(10))
  expect(said('y'.repeat(100_000), 20_000)).toHaveLength(16_384)
})
