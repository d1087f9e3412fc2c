import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LogMode } from '../../kernel/contract/prediction.ts'
import { readProcessRecord } from '../../kernel/runtime/process-record.ts'
import { deploymentOf, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { openLab, send, startLoad } from '../../testing/gateway-lab.ts'
import type { FakeControlPlane, Lab } from '../../testing/gateway-lab.ts'

const INFER = '/v2/models/late-flights/infer'
const entry = fileURLToPath(new URL('../../processes/gateway.ts', import.meta.url))
let lab: Lab
let control: FakeControlPlane
beforeEach(async () => {
  lab = openLab()
  control = await lab.controlPlane()
})
afterEach(() => lab.close())

interface Started {
  child: ChildProcess
  stderr: () => string
  exited: Promise<[number | null, string | null]>
}

function startProcess(overrides: Record<string, unknown> = {}): Started {
  const path = join(lab.dir, 'options.json')
  const options = {
    gatewayId: 'gateway',
    token: `t${Math.random()}`,
    host: '127.0.0.1',
    port: 0,
    dataDir: lab.dir,
    controlSocket: lab.socket('control'),
    socketPath: lab.socket('gateway'),
    spool: { minFreeBytes: 0 },
    ...overrides,
  }
  writeFileSync(path, JSON.stringify(options))
  const child = spawn(process.execPath, [entry, path], { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr?.on('data', (part: Buffer) => (stderr += part.toString()))
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  lab.onClose(() => child.kill('SIGKILL'))
  return { child, stderr: () => stderr, exited }
}

async function serving(logMode: LogMode = 'relaxed'): Promise<Started & { port: number }> {
  const replica = await lab.replicaProcess('replica-1')
  control.publish(
    snapshotOf(1, [routeOf({ logMode, deployments: [deploymentOf({ deploymentId: 'd', replicas: [replica] })] })]),
  )
  const started = startProcess()
  const { port } = await control.reported((report) => report.revision === 1)
  return { ...started, port }
}

describe('the gateway process', () => {
  it('keeps its record, serves, drains on SIGTERM without loss, and leaves nothing behind', async () => {
    const { child, exited, port } = await serving()
    expect(readProcessRecord(lab.dir, 'gateway')).toMatchObject({ pid: child.pid, role: 'gateway' })
    const load = startLoad(port, INFER, 8)
    await sleep(500)
    child.kill('SIGTERM')
    expect(await exited).toEqual([0, null])
    await load.stop()
    expect(load.failed.filter((why) => !why.includes('ECONNREFUSED'))).toEqual([])
    const last = control.reports.at(-1)
    expect(last?.log).toMatchObject({ answered: load.answered, logged: load.answered, dropped: 0 })
    expect(control.requests()).toBe(load.answered)
    expect(readProcessRecord(lab.dir, 'gateway')).toBeNull()
    expect(existsSync(lab.socket('gateway'))).toBe(false)
  })

  it('in durable mode has every acknowledged prediction on disk when it is killed', async () => {
    const first = await serving('durable')
    const load = startLoad(first.port, INFER, 8)
    await sleep(700)
    first.child.kill('SIGKILL')
    await first.exited
    await load.stop()
    control.reports.length = 0
    const second = startProcess()
    const report = await control.reported(({ token, revision }) => token !== '' && revision === 1)
    // Those whose answer was cut off by the kill may be on disk too: one for each client at most.
    expect(report.log.logged).toBeGreaterThanOrEqual(load.answered)
    expect(report.log.logged).toBeLessThanOrEqual(load.answered + 8)
    second.child.kill('SIGTERM')
    expect(await second.exited).toEqual([0, null])
  })

  it('says in one line what to do when its port is taken, and exits with 12', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', () => resolve()))
    const { port } = other.address() as { port: number }
    const { exited, stderr } = startProcess({ port })
    expect(await exited).toEqual([12, null])
    other.close()
    expect(stderr().trim().split('\n')).toHaveLength(1)
    expect(JSON.parse(stderr())).toMatchObject({
      code: 'MR_GATEWAY_PORT_TAKEN',
      message: `The gateway can't listen on 127.0.0.1:${port}: another program holds that port.`,
    })
    expect(readProcessRecord(lab.dir, 'gateway')).toBeNull()
  })

  it('says what its options lack', async () => {
    const { exited, stderr } = startProcess({ token: '' })
    expect(await exited).toEqual([12, null])
    expect(JSON.parse(stderr())).toMatchObject({ code: 'MR_GATEWAY_OPTIONS' })
  })

  it('proves who it is over its socket', async () => {
    const { child, port } = await serving()
    const { text } = await send({ socketPath: lab.socket('gateway'), path: '/identity' })
    const token = expect.any(String) as string
    // Others that are to share a port which the system chose follow it there.
    expect(JSON.parse(text)).toEqual({ id: 'gateway', token, pid: child.pid, port })
  })
})
