import { describe, expect, it } from 'vitest'
import { RequestDurations } from './request-durations.ts'
import { routeOf } from './routes.ts'

describe('the route of a request', () => {
  it.each([
    ['/v2/models/churn/infer', '/v2/models/{model}/infer'],
    ['/v2/models/churn/infer?x=1', '/v2/models/{model}/infer'],
    ['/v2/models/a%2Fb/versions/3/infer', '/v2/models/{model}/versions/{version}/infer'],
    ['/v2/models/churn', '/v2/models/{model}'],
    ['/v2/models/churn/versions/3', '/v2/models/{model}/versions/{version}'],
    ['/v2/models/churn/versions/3/ready', '/v2/models/{model}/versions/{version}/ready'],
    ['/v2/models/churn/stats', '/v2/models/{model}/stats'],
    ['/v2/models/stats', '/v2/models/stats'],
    ['/v2/repository/models/churn/load', '/v2/repository/models/{model}/load'],
    ['/v1/models/churn:predict', '/v1/models/{model}:predict'],
    ['/endpoints/churn/invocations', '/endpoints/{model}/invocations'],
    ['/invocations', '/invocations'],
    ['/livez', '/livez'],
    ['/v2/health/live', '/v2/health/live'],
    ['/v2/', '/v2'],
    ['/', '/'],
    ['/feedback', '/feedback'],
    ['/metrics', '/metrics'],
    ['/inference.GRPCInferenceService/ModelInfer', '/inference.GRPCInferenceService/ModelInfer'],
  ])('%s is %s', (target, route) => expect(routeOf(target)).toBe(route))

  it.each(['/wp-login.php', '/v2/models//infer', '/v2/models/%zz/infer', '/endpoints/x/y/z', ''])(
    'is none for %s, which is nothing that is there',
    (target) => expect(routeOf(target)).toBe(''),
  )
})

describe('durations of requests', () => {
  const labelsOf = (durations: RequestDurations) => durations.samples().map(({ labels }) => labels)

  it('are kept by method, status and route', () => {
    const durations = new RequestDurations()
    durations.observe('POST', '/v2/models/a/infer', 200, 3)
    durations.observe('POST', '/v2/models/b/infer', 200, 30)
    durations.observe('POST', '/v2/models/b/infer', 503, 1)
    durations.observe('GET', '/livez', 200, 1)
    expect(labelsOf(durations)).toEqual([
      ['POST', '200', '/v2/models/{model}/infer'],
      ['POST', '503', '/v2/models/{model}/infer'],
      ['GET', '200', '/livez'],
    ])
    expect(durations.samples()[0]).toMatchObject({ sum: 0.033 })
    expect(Array.from(durations.samples()[0]!.counts).slice(0, 4)).toEqual([1, 0, 0, 1])
  })

  it('stay as few as there are routes, whatever strangers ask for', () => {
    const durations = new RequestDurations()
    for (let i = 0; i < 3_000; i++) {
      durations.observe('GET', `/nothing/${i}`, 404, 1)
      durations.observe(`METHOD${i}`, `/v2/models/m${i}/infer`, 405, 1)
    }
    durations.observe('GET', '', 400, 1)
    expect(labelsOf(durations)).toEqual([
      ['GET', '404', ''],
      ['_OTHER', '400', ''],
      ['_OTHER', '405', '/v2/models/{model}/infer'],
    ])
    expect(durations.samples().map(({ counts }) => Array.from(counts).reduce((a, b) => a + b))).toEqual([
      3_000, 1, 3_000,
    ])
  })
})
