import { expect, it } from 'vitest'
import { notPlainIn } from './plain-value.ts'

it('takes what JSON can hold, and undefined as not written', () => {
  expect(
    notPlainIn({ a: 'x', b: 1, c: true, d: null, e: [1, { f: [] }], g: undefined, h: Object.create(null) }),
  ).toEqual([])
})

it('names the field and the kind of everything else', () => {
  const circle: Record<string, unknown> = {}
  circle['again'] = circle
  const found = notPlainIn({
    f: () => 1,
    d: new Date(),
    m: { n: [1, NaN] },
    s: Symbol('x'),
    i: 1n,
    u: [undefined],
    c: circle,
    p: Promise.resolve(),
  })
  expect(found.map(({ path, what }) => `${path.join('.')} ${what}`)).toEqual([
    'f a function',
    'd a Date',
    'm.n.1 NaN',
    's a symbol',
    'i a bigint',
    'u.0 undefined',
    'c.again a circular reference',
    'p a Promise',
  ])
})

it('does not follow endless nesting', () => {
  const deep = Array.from({ length: 60 }).reduce<unknown>((inner) => ({ inner }), 1)
  expect(notPlainIn(deep)).toMatchObject([{ what: 'nested more than 50 deep' }])
})
