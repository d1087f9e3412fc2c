import { EXPOSITION_TYPE } from '../../kernel/metrics/exposition.ts'
import type { Answer } from './answer.ts'
import type { RequestHead } from './http/http-front.ts'
import type { ExtraRoute } from './rest/extras.ts'

/**
 * `GET /metrics` for Prometheus.
 * @param text - collects what there is to tell now
 * @param refusal - who may not read it; absent: whoever reaches the server may
 */
export function metricsRoute(text: () => string, refusal?: (head: RequestHead) => Answer | null): ExtraRoute {
  return {
    path: '/metrics',
    method: 'GET',
    bodyLimitBytes: 0,
    ...(refusal === undefined ? {} : { refusal }),
    serve: () => metricsAnswer(text()),
  }
}

export function metricsAnswer(text: string): Answer {
  return {
    status: 200,
    headers: ['Content-Type', EXPOSITION_TYPE, 'Cache-Control', 'no-store'],
    body: Buffer.from(text),
  }
}
