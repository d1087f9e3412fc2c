import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServerPlan } from '../../kernel/server/server-plan.ts'
import { LeaseListener } from '../../testing/lease-listener.ts'
import { startCustomReplica } from './custom-replica.ts'
import type { Replica } from './replica-life.ts'

const SERVER = resolve(import.meta.dirname, '../../testing/v2-server.mjs')

let dir: string
let control: LeaseListener
let replica: Replica | null

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mr-custom-'))
  mkdirSync(join(dir, 'model'))
  writeFileSync(join(dir, 'model', 'weights.json'), JSON.stringify({ weights: [1], bias: 0 }))
  replica = null
  control = await LeaseListener.listen(join(dir, 'control.sock'))
})
afterEach(async () => {
  replica?.drain('the test is over')
  await replica?.over
  await control.close()
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

describe('a replica whose server is a command', () => {
  it('is ready once the command is, says on which port, and takes it along when it goes', async () => {
    const started = await start()
    expect(control.leases[0] ?? (await control.saying('loading'))).toMatchObject({
      state: 'loading',
      httpPort: null,
      loadedDigest: null,
    })
    const ready = await control.saying('ready')
    expect(ready).toMatchObject({ socketPath: '', loadedDigest: 'sha256:folder', httpPort: started.httpPort })
    const url = `http://127.0.0.1:${ready.httpPort}/v2/health/ready`
    expect((await fetch(url)).status).toBe(200)
    control.goal = 'drain'
    expect(await started.over).toEqual({ abandoned: 0, failed: false })
    expect((await control.saying('draining')).why).toBe('the control plane asked for it')
    await expect(fetch(url)).rejects.toThrow('fetch failed')
  })

  it('has failed with the last words of a command that does not start', async () => {
    const started = await start({ env: { TROUBLE: 'exit' } })
    expect((await control.saying('failed')).why).toContain('Its last words: no licence for this machine')
    expect(await started.over).toEqual({ abandoned: 0, failed: true })
  })

  it('has failed, and ends, when the command ends', async () => {
    const started = await start()
    const { httpPort } = await control.saying('ready')
    const body = JSON.stringify({ id: 'crash', inputs: [] })
    await expect(fetch(`http://127.0.0.1:${httpPort}/v2/models/mine/infer`, { method: 'POST', body })).rejects.toThrow(
      'fetch failed',
    )
    expect(await started.over).toEqual({ abandoned: 0, failed: true })
    expect((await control.saying('failed')).why).toBe('its server has ended with exit status 1')
  })

  it('has failed when the command no longer says that it is ready', async () => {
    const started = await start({ command: `node '${SERVER}' & echo $! > '${dir}/pid'; wait` }, { hungMs: 300 })
    await control.saying('ready')
    process.kill(Number(readFileSync(join(dir, 'pid'), 'utf8')), 'SIGSTOP')
    expect((await control.saying('failed')).why).toBe('its server has not said that it is ready for 0.3 s')
    expect(await started.over).toEqual({ abandoned: 0, failed: true })
  })
})
