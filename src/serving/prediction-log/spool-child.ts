import { argv, stdout } from 'node:process'
import { systemClock } from '../../kernel/clock.ts'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import { openSpool } from './spool.ts'

/**
 * Run by the crash test: a gateway's spool under load in durable mode, until it is killed. Each id is printed once it
 * is acknowledged, by a synchronous write, so that the parent has it whatever happens next.
 * `node spool-child.ts <spool folder> <instance> <requests under way at once>`
 */
const [, , dir = '', instance = '', parallel = '1'] = argv
const signature = { inputs: [{ name: 'x', datatype: 'FP32' as const, shape: [-1], columns: null }], outputs: [] }
const spool = await openSpool({ dir, instance, clock: systemClock, sealMs: 20, sealBytes: 20_000 })
await spool.append({ kind: 'schema', model: 'm', version: '1', signature }, 'durable')
// Synchronous where stdout is a pipe on POSIX, see process I/O in Node's documentation.
stdout.write('ready\n')

async function client(): Promise<never> {
  for (;;) {
    const predictionId = newPredictionId(Date.now())
    const request = Buffer.from(`{"inputs":[{"name":"x","shape":[1],"data":[${Math.random()}]}]}`)
    const facts = { endpoint: 'm', model: 'm', version: '1', origin: 'live', caller: instance } as const
    const times = { atMs: Date.now(), latencyMs: 1, status: 200, trial: null, shadowOf: null }
    const response = Buffer.from('{"outputs":[]}')
    await spool.append({ kind: 'prediction', predictionId, ...facts, ...times, request, response }, 'durable')
    await spool.append({ kind: 'label', predictionId, row: 0, label: true, atMs: Date.now() }, 'durable')
    stdout.write(`${predictionId}\n`)
  }
}

await Promise.all(Array.from({ length: Number(parallel) }, client))
