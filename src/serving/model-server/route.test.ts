import { describe, expect, it } from 'vitest'
import { routeOf } from './route.ts'

describe('a request line', () => {
  it.each([
    ['GET', '/v2/health/live', { kind: 'live' }],
    ['GET', '/livez', { kind: 'live' }],
    ['HEAD', '/readyz?verbose=1', { kind: 'ready' }],
    ['GET', '/v2/', { kind: 'server' }],
    ['GET', '/v2/models/m', { kind: 'model', model: 'm', version: null }],
    ['GET', '/v2/models/m/ready', { kind: 'modelReady', model: 'm', version: null }],
    ['GET', '/v2/models/m/versions/v1.2/ready', { kind: 'modelReady', model: 'm', version: 'v1.2' }],
    ['POST', '/v2/models/a%2Fb%20%C3%BC/versions/7/infer?x=/y', { kind: 'infer', model: 'a/b ü', version: '7' }],
  ])('%s %s is understood', (method, url, route) => {
    expect(routeOf(method, url, false)).toEqual(route)
  })

  it.each([
    ['GET', '/', 404],
    ['GET', '/v2/models', 404],
    ['GET', '/v2/models//infer', 404],
    ['GET', '/v2/models/m/versions/infer/x', 404],
    ['GET', '/constructor', 404],
    ['GET', '/v2/models/m/infer', 405],
    ['POST', '/v2/health/live', 405],
    ['POST', '/v2/models/%zz/infer', 400],
  ])('%s %s is refused with %i', (method, url, status) => {
    expect(() => routeOf(method, url, false)).toThrow(expect.objectContaining({ status }))
  })

  it('asks for the identity on the unix socket alone', () => {
    expect(routeOf('GET', '/identity', true)).toEqual({ kind: 'identity' })
    expect(() => routeOf('GET', '/identity', false)).toThrow(expect.objectContaining({ status: 404 }))
  })
})
