import { expect, it } from 'vitest'
import { errorTextOf, withoutFolders } from './error-text.ts'

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

it.each([
  ['/data/a/model.onnx is damaged', 'model.onnx is damaged'],
  ["ENOENT: no such file, open '/my folder/b c/model.onnx'", "ENOENT: no such file, open 'model.onnx'"],
  [
    'Cannot find module "/srv/x/dep.js" imported from /srv/x/combine.ts',
    'Cannot find module "dep.js" imported from combine.ts',
  ],
  ['Node (/ort/src/core/gemm.cc:42) failed', 'Node (gemm.cc:42) failed'],
  ['see https://example.org/a/b/c, or [1/2/3] and x/y/z', 'see https://example.org/a/b/c, or [1/2/3] and x/y/z'],
  ['/v2 is no folder', '/v2 is no folder'],
])('says which file, and not where it lies: %s', (text, expected) => {
  expect(withoutFolders(text)).toBe(expected)
})
