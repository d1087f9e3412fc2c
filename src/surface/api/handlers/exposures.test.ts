import { expect, it } from 'vitest'
import { exposures } from './exposures.ts'

const tls = { certificate: 'a.pem', key: 'a.key', clientAuthorities: null }

it('tells of an open gateway beyond this machine, and of nothing else', () => {
  const of = (host: string, withTls: boolean, anonymous: boolean) =>
    exposures({ host, tls: withTls ? tls : null, anonymous }).map((text) => text.split(' ')[0])
  expect(of('127.0.0.1', false, true)).toEqual([])
  expect(of('0.0.0.0', true, false)).toEqual([])
  expect(of('0.0.0.0', false, false)).toEqual(['The'])
  expect(of('box.local', true, true)).toEqual(['Whoever'])
  expect(of('::', false, true)).toEqual(['The', 'Whoever'])
})
