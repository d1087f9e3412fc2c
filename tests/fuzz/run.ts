import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../../src/kernel/stats/random.ts'
import { readProcessRecords } from '../../src/kernel/runtime/process-record.ts'
import { malformedRequest, mutatedStream } from '../../src/testing/http-fuzz.ts'
import type { FuzzTarget } from '../../src/testing/http-fuzz.ts'
import { fuzzServer } from '../../src/testing/http-fuzz-client.ts'
import type { FuzzOrder, FuzzOutcome } from '../../src/testing/http-fuzz-client.ts'
import { tokenPath } from '../../src/surface/api/token.ts'
import { install, predict, serving } from '../harness.ts'
import type { Installation } from '../harness.ts'
import { quickFiles, quickModel, row } from '../quick-project.ts'

/**
 * Malformed requests to the data port and to the control API of a whole Millrace:
 *
 *   npm run test:fuzz -- [--requests 1000000] [--seed 1]
 *
 * Nine of ten go to the data port. For either, half are broken HTTP, and half are good HTTP that asks for nonsense.
 * Exit 0: no process has ended, every request that needed an answer got one, and none was a 5xx; else 1.
 */

const CONNECTIONS = 48
const ENDPOINT = 'quick'

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { requests: { type: 'string' }, seed: { type: 'string' } } })
  const requests = Number(values.requests ?? 1_000_000)
  const seed = Number(values.seed ?? 1)
  const millrace = install(quickFiles({ models: { [ENDPOINT]: quickModel } }))
  try {
    return await fuzz(millrace, requests, seed)
  } finally {
    await millrace.remove()
  }
}

async function fuzz(millrace: Installation, requests: number, seed: number): Promise<number> {
  const { apiUrl, gatewayUrl } = await start(millrace)
  const before = processes(millrace)
  const gateway = { host: gatewayUrl.hostname, port: Number(gatewayUrl.port) }
  const api = { host: apiUrl.hostname, port: Number(apiUrl.port) }
  const operations = controlApi(apiUrl.host, readFileSync(tokenPath(millrace.dataDir), 'utf8').trim())
  const random = seededRandom(seed)
  const orders: [string, FuzzOrder][] = [
    ['data port, broken HTTP', order(gateway, 'front', mutatedStream, requests * 0.45)],
    ['data port, nonsense', order(gateway, 'front', (source) => malformedRequest(dataPort, source), requests * 0.45)],
    ['control API, broken HTTP', order(api, 'any', mutatedStream, requests * 0.05)],
    ['control API, nonsense', order(api, 'any', (source) => malformedRequest(operations, source), requests * 0.05)],
  ]
  let wrong = 0
  for (const [name, one] of orders) {
    const beganMs = performance.now()
    const outcome = await fuzzServer({ ...one, random })
    wrong += outcome.wrongCount
    report(name, outcome, performance.now() - beganMs)
  }
  const { version } = await predict(new URL(`/v2/models/${ENDPOINT}/infer`, gatewayUrl).href, row(1, 1))
  console.log(`afterwards ${version} answers as before`)
  const ended = before.filter((process) => !processes(millrace).includes(process))
  for (const process of ended) console.log(`ended: ${process}`)
  console.log(wrong + ended.length === 0 ? 'nothing was wrong' : `${wrong} wrong, ${ended.length} processes ended`)
  return wrong + ended.length === 0 ? 0 : 1
}

function order(where: FuzzOrder['where'], server: FuzzOrder['server'], make: FuzzOrder['make'], streams: number) {
  const onProgress = (done: number): void => void process.stderr.write(`\r${done} of ${streams} `)
  return { where, server, make, streams, connections: CONNECTIONS, random: seededRandom(0), onProgress }
}

const INPUTS = '"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2.5]}]'

const dataPort: FuzzTarget = {
  paths: [
    Array<string>(6).fill(`/v2/models/${ENDPOINT}/infer`),
    [`/v2/models/${ENDPOINT}/versions/1/infer`, `/v2/models/${ENDPOINT}/ready`, `/v2/models/${ENDPOINT}`, '/v2'],
    [`/v1/models/${ENDPOINT}:predict`, '/invocations', '/feedback', '/v2/repository/index', '/metrics', '/readyz'],
  ].flat(),
  bodies: [
    `{"id":"a",${INPUTS},"parameters":{"binary_data_output":false}}`,
    `{${INPUTS},"outputs":[{"name":"y","parameters":{"binary_data":true}}]}`,
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}\0\0\0\0\0\0\0\0',
    '{"instances":[[1,2]]}',
    '{"dataframe_split":{"columns":["a","b"],"data":[[1,2]]}}',
    '{"labels":[{"id":"01hzzzzzzzzzzzzzzzzzzzzzzz","label":1}]}',
  ],
  headers: 'Host: 127.0.0.1\r\nContent-Type: application/json\r\n',
}

/** Operations that change nothing where they are called rightly. */
const controlApi = (host: string, token: string): FuzzTarget => ({
  paths: [
    '/api/v1/models',
    '/api/v1/runs',
    '/api/v1/events',
    '/api/v1/status',
    '/api/v1/prediction-log/query',
    '/openapi.json',
  ]
    .flatMap((path) => [path, path.replace('/api/v1/', '/rpc/')])
    .concat('/rpc/versions/get', '/rpc/runs/get', '/', '/open'),
  bodies: [
    '{"json":{"ref":"quick@1"}}',
    '{"sql":"select 1","limit":1}',
    '{"id":"run-1"}',
    '{"json":{"afterSeq":0,"limit":5}}',
    '{}',
  ],
  headers: `Host: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}\r\n`,
})

/** The quick model live, and where it is all reached. */
async function start(millrace: Installation): Promise<{ gatewayUrl: URL; apiUrl: URL }> {
  await millrace.up()
  const from = { path: join(millrace.folder, 'good.onnx') }
  await millrace.api.versions.import({ model: ENDPOINT, from, as: 'champion', why: 'to be fuzzed', by: 'fuzz' })
  const { url } = await serving(millrace, ENDPOINT)
  const { controlPlane } = await millrace.json<{ controlPlane: { apiUrl: string } }>(['status'])
  return { gatewayUrl: new URL(url!), apiUrl: new URL(controlPlane.apiUrl) }
}

/** With their pids: one that was started again is another. */
function processes({ dataDir }: Installation): string[] {
  const lasting = readProcessRecords(dataDir).filter(({ role }) => role !== 'job' && role !== 'step')
  return lasting.map(({ id, pid }) => `${id} (${pid})`)
}

function report(name: string, { streams, statuses, wrong, wrongCount }: FuzzOutcome, ms: number): void {
  const counts = [...statuses].toSorted(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`)
  console.log(
    `\n${name}: ${streams} streams in ${Math.round(ms / 1_000)} s, answers ${counts.join(', ')}; ${wrongCount} wrong`,
  )
  for (const line of wrong) console.log(`  ${line.slice(0, 1_000)}`)
}

process.exit(await main())
