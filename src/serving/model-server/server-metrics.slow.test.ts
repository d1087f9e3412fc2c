import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hasPromtool, promtoolFindings, readExposition, valueOf } from '../../testing/exposition.ts'
import { send } from '../../testing/gateway-lab.ts'
import { linearModel, writeModel } from '../../testing/onnx-builder.ts'
import { serveModels } from './serve-models.ts'
import type { ServedModels } from './serve-models.ts'
import { serverMetrics } from './server-metrics.ts'

let folder = ''
let served: ServedModels
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mr-metrics-'))
  const paths = ['price', 'risk'].map((name) => writeModel(join(folder, `${name}.onnx`), linearModel({ weights: [2] })))
  served = await serveModels({ paths, port: 0, socket: join(folder, 's.sock'), drain: { idleMs: 50, limitMs: 5_000 } })
})
afterEach(async () => {
  await served.close()
  rmSync(folder, { recursive: true })
})

const infer = (rows: number, body = rowsOf(rows), headers = {}) =>
  send({ port: served.port, path: '/v2/models/price/infer', method: 'POST', headers }, body)
const rowsOf = (rows: number): string =>
  JSON.stringify({ inputs: [{ name: 'x', shape: [rows, 1], datatype: 'FP32', data: Array(rows).fill(1) }] })

describe('a model server', () => {
  it('tells Prometheus of its models by the names that Triton has for it', async () => {
    expect((await infer(2)).status).toBe(200)
    expect((await infer(3)).status).toBe(200)
    expect((await infer(1, '{"inputs":[]}')).status).toBe(400)
    const { text, status, headers } = await send({ port: served.port, path: '/metrics' })
    expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8'])
    const metrics = readExposition(text)
    const names = Object.values(serverMetrics).map(({ name }) => name)
    expect([...metrics.keys()].slice(0, names.length)).toEqual(names)
    const of = (name: string, model = 'price') => valueOf(metrics, name, { model, version: '1' })
    expect([of('nv_inference_request_success'), of('nv_inference_request_failure')]).toEqual([2, 1])
    expect([of('nv_inference_count'), of('nv_inference_exec_count')]).toEqual([5, 2])
    expect(of('nv_inference_pending_request_count')).toBe(0)
    const parts = ['queue', 'compute_input', 'compute_infer', 'compute_output'].map((part) =>
      of(`nv_inference_${part}_duration_us`),
    )
    const whole = of('nv_inference_request_duration_us')
    expect(whole).toBeGreaterThan(0)
    expect(parts.reduce((a, b) => a + b)).toBeLessThanOrEqual(whole + parts.length)
    expect([of('nv_inference_request_success', 'risk'), of('millrace_model_ready', 'risk')]).toEqual([0, 1])
    expect(valueOf(metrics, 'millrace_server_requests_in_flight')).toBe(1) // this one
    expect(hasPromtool ? promtoolFindings(text) : []).toEqual([])
  })

  it('tells the same on its unix socket, and no more of a model that is unloaded', async () => {
    await send({ port: served.port, path: '/v2/repository/models/risk/unload', method: 'POST' })
    const metrics = readExposition((await send({ socketPath: join(folder, 's.sock'), path: '/metrics' })).text)
    const models = metrics.get('millrace_model_ready')!.samples.map(({ labels }) => labels['model'])
    expect(models).toEqual(['price'])
  })

  it('takes part in a trace with a span of its own, and shows it to who asks', async () => {
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    const asked = await infer(1, rowsOf(1), { traceparent, 'millrace-return-trace': '1' })
    expect(asked.headers['traceresponse']).toMatch(new RegExp(`^00-${'a'.repeat(32)}-[0-9a-f]{16}-01$`))
    expect(asked.headers['traceresponse']).not.toBe(traceparent)
    expect((await infer(1, rowsOf(1), { traceparent })).headers['traceresponse']).toBeUndefined()
  })
})
