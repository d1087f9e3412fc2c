import { describe, expect, it } from 'vitest'
import { methodOf, parseTarget } from './target.ts'

describe('the target of a request', () => {
  it.each([
    ['/v2', { kind: 'server' }],
    ['/v2/', { kind: 'server' }],
    ['http://localhost:8700/v2', { kind: 'server' }],
    ['HTTP://x?y', { kind: 'v1-alive' }],
    ['/v2/health/live', { kind: 'live' }],
    ['/livez', { kind: 'live' }],
    ['/v2/health/ready?x=1', { kind: 'ready' }],
    ['/readyz?verbose=1', { kind: 'ready' }],
    ['/v2/models/m', { kind: 'model', name: 'm', version: null }],
    ['/v2/models/m/', { kind: 'model', name: 'm', version: null }],
    ['/v2/models/m/ready', { kind: 'model-ready', name: 'm', version: null }],
    ['/v2/models/m/infer?timeout=5', { kind: 'infer', name: 'm', version: null }],
    ['/v2/models/m/versions/7', { kind: 'model', name: 'm', version: '7' }],
    ['/v2/models/m/versions/7/ready', { kind: 'model-ready', name: 'm', version: '7' }],
    ['/v2/models/m/versions/v1.2/ready', { kind: 'model-ready', name: 'm', version: 'v1.2' }],
    ['/v2/models/m/versions/a%2Fb/infer', { kind: 'infer', name: 'm', version: 'a/b' }],
    ['/v2/models/a%2Fb%20%C3%BC/versions/7/infer?x=/y', { kind: 'infer', name: 'a/b ü', version: '7' }],
    ['/v2/models/infer/infer', { kind: 'infer', name: 'infer', version: null }],
    ['/v2/models/vers%C3%A9/infer', { kind: 'infer', name: 'versé', version: null }],
    ['/v2/models/constructor', { kind: 'model', name: 'constructor', version: null }],
    ['/v2/models/m/config', { kind: 'config', name: 'm', version: null }],
    ['/v2/models/m/versions/1/config', { kind: 'config', name: 'm', version: '1' }],
    ['/v2/models/stats', { kind: 'statistics', name: null, version: null }],
    ['/v2/models/stats/stats', { kind: 'statistics', name: 'stats', version: null }],
    ['/v2/models/m/stats', { kind: 'statistics', name: 'm', version: null }],
    ['/v2/models/m/versions/1/stats', { kind: 'statistics', name: 'm', version: '1' }],
  ])('of the Open Inference Protocol v2, %s, is understood', (url, target) => {
    expect(parseTarget(url)).toEqual(target)
  })

  it.each([
    ['/v2/repository/index', { kind: 'index' }],
    ['/v2/repository/models/m/load', { kind: 'load', name: 'm' }],
    ['/v2/repository/models/a%2Fb/unload?x', { kind: 'unload', name: 'a/b' }],
  ])('of a model repository, %s, is understood', (url, target) => {
    expect(parseTarget(url)).toEqual(target)
  })

  it.each([
    ['/', { kind: 'v1-alive' }],
    ['/?x=1', { kind: 'v1-alive' }],
    ['/v1/models', { kind: 'v1-models' }],
    ['/v1/models/m', { kind: 'v1-model', name: 'm' }],
    ['/v1/models/m:predict', { kind: 'v1-predict', name: 'm' }],
    ['/v1/models/a%3Ab:predict?x', { kind: 'v1-predict', name: 'a:b' }],
  ])('of KServe v1, %s, is understood', (url, target) => {
    expect(parseTarget(url)).toEqual(target)
  })

  it.each([
    ['/ping', { kind: 'mlflow-ping', name: null }],
    ['/health', { kind: 'mlflow-ping', name: null }],
    ['/version', { kind: 'mlflow-version', name: null }],
    ['/invocations', { kind: 'mlflow-invocations', name: null }],
    ['/endpoints/m/ping', { kind: 'mlflow-ping', name: 'm' }],
    ['/endpoints/m/health', { kind: 'mlflow-ping', name: 'm' }],
    ['/endpoints/m/version', { kind: 'mlflow-version', name: 'm' }],
    ['/endpoints/vers%C3%A9/invocations', { kind: 'mlflow-invocations', name: 'versé' }],
  ])('of MLflow, %s, is understood', (url, target) => {
    expect(parseTarget(url)).toEqual(target)
  })

  it.each([
    '/v2/models',
    '/v2/models/m/infer/x',
    '/v2/models/m/versions',
    '/v2/models/m/versions/infer/x',
    '/v2/models/m/train',
    '/v3',
    '/v2/models/m/versions/7/x',
    '/constructor',
    '/v2/repository',
    '/v2/repository/models/m',
    '/v2/repository/models/m/load/x',
    '/v1/models/m/infer',
    '/v1/models/m:explain',
    '/v1/models/m:predict:predict',
    '/endpoints/m',
    '/endpoints/m/ping/x',
    '*',
    'ftp://x/v2',
  ])('%s is unknown', (url) => expect(parseTarget(url)).toMatchObject({ kind: 'unknown' }))

  it('that is unknown is named without its query', () => {
    expect(parseTarget('/v3?x=1')).toEqual({ kind: 'unknown', path: '/v3' })
  })

  it.each([
    '/v2/models//infer',
    '/v2/models/%/infer',
    '/v2/models/%zz/infer',
    '/v2/models/%ff/infer',
    '/v2/models/m/versions//infer',
    `/v2/models/${'m'.repeat(2_000)}/infer`,
    '/v2/repository/models/%ff/load',
    '/v1/models/:predict',
    '/endpoints//ping',
  ])('%s is malformed', (url) => expect(parseTarget(url)).toMatchObject({ kind: 'malformed' }))

  it.each([
    ['/v2/models/m/infer', 'POST'],
    ['/v2/repository/index', 'POST'],
    ['/v1/models/m:predict', 'POST'],
    ['/invocations', 'POST'],
    ['/v2/health/live', 'GET'],
    ['/v2/models/m', 'GET'],
    ['/ping', 'GET'],
    ['/v3', null],
  ])('%s takes %s', (url, method) => expect(methodOf(parseTarget(url))).toBe(method))
})
