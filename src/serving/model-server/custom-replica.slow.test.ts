import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Lease } from '../../kernel/contract/routing.ts'
import type { ServerPlan } from '../../kernel/server/server-plan.ts'
import { startCustomReplica } from './custom-replica.ts'
import type { Replica } from './replica.ts'

const SERVER = resolve(import.meta.dirname, '../../testing/v2-server.mjs')

let dir: string
let control: Server
let leases: Lease[]
let goal: 'run' | 'drain'
let replica: Replica | null

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mr-custom-'))
  mkdirSync(join(dir, 'model'))
  writeFileSync(join(dir, 'model', 'weights.json'), JSON.stringify({ weights: [1], bias: 0 }))
  leases = []
  goal = 'run'
  replica = null
  control = createServer((call, answer) => {
    let text = ''
    call.on('data', (chunk: Buffer) => (text += chunk.toString()))
    call.on('end', () => {
      leases.push(JSON.parse(text) as Lease)
      answer.end(JSON.stringify({ goal }))
    })
  })
  await new Promise<void>((listening) => control.listen(join(dir, 'control.sock'), listening))
})
afterEach(async () => {
  replica?.drain('the test is over')
  await replica?.over
  control.closeAllConnections()
  await new Promise((closed) => control.close(closed))
  rmSync(dir, { recursive: true, force: true })
})

async function start(plan: Partial<ServerPlan> = {}, parts: { hungMs?: number } = {}): Promise<Replica> {
  const server: ServerPlan = {
    command: `exec node '${SERVER}'`,
    cwd: dir,
    env: {},
    modelDir: join(dir, 'model'),
    modelName: 'mine',
    version: '1',
    readyTimeoutMs: 20_000,
    logPath: join(dir, 'server.log'),
    ...plan,
  }
  const about = { replicaId: 'replica-1', token: 't', deploymentId: 'deployment-1', model: 'm', version: '1' }
  const files = { digest: 'sha256:folder', controlSocket: join(dir, 'control.sock') }
  replica = await startCustomReplica(
    { ...about, ...files, server, drainMs: 2_000 },
    { tell: () => {}, failedStaysMs: 100, ...parts },
  )
  return replica
}

async function lease(state: Lease['state']): Promise<Lease> {
  for (let i = 0; i < 1_000; i++) {
    const found = leases.find((one) => one.state === state)
    if (found) return found
    await sleep(20)
  }
  throw new Error(`no lease says ${state}`)
}

describe('a replica whose server is a command', () => {
  it('is ready once the command is, says on which port, and takes it along when it goes', async () => {
    const started = await start()
    expect(leases[0] ?? (await lease('loading'))).toMatchObject({
      state: 'loading',
      httpPort: null,
      loadedDigest: null,
    })
    const ready = await lease('ready')
    expect(ready).toMatchObject({ socketPath: '', loadedDigest: 'sha256:folder', httpPort: started.httpPort })
    const url = `http://127.0.0.1:${ready.httpPort}/v2/health/ready`
    expect((await fetch(url)).status).toBe(200)
    goal = 'drain'
    expect(await started.over).toEqual({ abandoned: 0, failed: false })
    expect((await lease('draining')).why).toBe('the control plane asked for it')
    await expect(fetch(url)).rejects.toThrow('fetch failed')
  })

  it('has failed with the last words of a command that does not start', async () => {
    const started = await start({ env: { TROUBLE: 'exit' } })
    expect((await lease('failed')).why).toContain('Its last words: no licence for this machine')
    expect(await started.over).toEqual({ abandoned: 0, failed: true })
  })

  it('has failed, and ends, when the command ends', async () => {
    const started = await start()
    const { httpPort } = await lease('ready')
    const body = JSON.stringify({ id: 'crash', inputs: [] })
    await expect(fetch(`http://127.0.0.1:${httpPort}/v2/models/mine/infer`, { method: 'POST', body })).rejects.toThrow(
      'fetch failed',
    )
    expect(await started.over).toEqual({ abandoned: 0, failed: true })
    expect((await lease('failed')).why).toBe('its server has ended with exit status 1')
  })

  it('has failed when the command no longer says that it is ready', async () => {
    const started = await start({ command: `node '${SERVER}' & echo $! > '${dir}/pid'; wait` }, { hungMs: 300 })
    await lease('ready')
    process.kill(Number(readFileSync(join(dir, 'pid'), 'utf8')), 'SIGSTOP')
    expect((await lease('failed')).why).toBe('its server has not said that it is ready for 0.3 s')
    expect(await started.over).toEqual({ abandoned: 0, failed: true })
  })
})
