import { describe, expect, it } from 'vitest'
import { parseTarget } from './target.ts'

describe('the target of a request', () => {
  it.each([
    ['/v2', { kind: 'server' }],
    ['/v2/health/live', { kind: 'live' }],
    ['/v2/health/ready?x=1', { kind: 'ready' }],
    ['/v2/models/m', { kind: 'model', name: 'm', version: null }],
    ['/v2/models/m/ready', { kind: 'model-ready', name: 'm', version: null }],
    ['/v2/models/m/infer?timeout=5', { kind: 'infer', name: 'm', version: null }],
    ['/v2/models/m/versions/7', { kind: 'model', name: 'm', version: '7' }],
    ['/v2/models/m/versions/7/ready', { kind: 'model-ready', name: 'm', version: '7' }],
    ['/v2/models/m/versions/a%2Fb/infer', { kind: 'infer', name: 'm', version: 'a/b' }],
    ['/v2/models/infer/infer', { kind: 'infer', name: 'infer', version: null }],
    ['/v2/models/vers%C3%A9/infer', { kind: 'infer', name: 'versé', version: null }],
  ])('%s is understood', (url, target) => {
    expect(parseTarget(url)).toEqual(target)
  })

  it.each([
    '/',
    '/v2/models',
    '/v2/models/m/infer/x',
    '/v2/models/m/versions',
    '/v2/models/m/train',
    '/v3',
    '/v2/models/m/versions/7/x',
  ])('%s is unknown', (url) => expect(parseTarget(url)).toEqual({ kind: 'unknown', path: url }))

  it.each(['/v2/models//infer', '/v2/models/%/infer', '/v2/models/%ff/infer', `/v2/models/${'m'.repeat(2_000)}/infer`])(
    '%s is malformed',
    (url) => expect(parseTarget(url)).toMatchObject({ kind: 'malformed' }),
  )
})
