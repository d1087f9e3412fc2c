import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LogMode } from '../../kernel/contract/prediction.ts'
import { runIngestJob } from '../../kernel/lake/ingest.ts'
import { lakeTotals, reconcile } from '../../kernel/lake/lake-totals.ts'
import { spoolBacklog } from '../../kernel/lake/spool-backlog.ts'
import { listSegments } from '../../kernel/lake/spool-files.ts'
import { readProcessRecord } from '../../kernel/runtime/process-record.ts'
import { deploymentOf, inferBody, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { lostIn, openLab, send, startLoad } from '../../testing/gateway-lab.ts'
import type { FakeControlPlane, Lab } from '../../testing/gateway-lab.ts'
import { smallDisk } from '../../testing/small-disk.ts'

const INFER = '/v2/models/late-flights/infer'
const entry = fileURLToPath(new URL('../../processes/gateway.ts', import.meta.url))
let lab: Lab
let control: FakeControlPlane
beforeEach(async () => {
  lab = openLab()
  control = await lab.controlPlane()
})
afterEach(() => lab.close())
const disk = smallDisk(8 * 1024 * 1024)
afterAll(() => disk?.remove())

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
    expect(lostIn(load)).toEqual([])
    // Who was reset finds nobody the next time.
    expect(load.failed.filter((why) => why.includes('ECONNRESET')).length).toBeLessThanOrEqual(8)
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

  it.runIf(disk !== null)(
    'that was killed begins again on a disk that is full, and goes on as on one that fills up',
    async () => {
      const spoolDir = join(disk!.path, 'spool')
      const replica = await lab.replicaProcess('replica-1')
      const deployments = [deploymentOf({ deploymentId: 'd', replicas: [replica] })]
      const durable = routeOf({ endpoint: 'durable', logMode: 'durable', deployments })
      control.publish(snapshotOf(1, [durable, routeOf({ endpoint: 'relaxed', deployments })]))
      const ask = async (port: number, endpoint: string) =>
        await send({ port, path: `/v2/models/${endpoint}/infer`, method: 'POST' }, inferBody)
      const sealMs = 60_000 // its segment is left open
      const begin = async (token: string) => {
        const started = startProcess({ token, dataDir: disk!.path, spool: { minFreeBytes: 0, sealMs } })
        const { port } = await control.reported((report) => report.token === token && report.revision === 1)
        return { ...started, port }
      }
      const first = await begin('first')
      for (let n = 0; n < 5; n += 1) expect((await ask(first.port, 'durable')).status).toBe(200)
      first.child.kill('SIGKILL')
      await first.exited
      disk!.fill()

      const second = await begin('second')
      const refused = await ask(second.port, 'durable')
      expect([refused.status, refused.text]).toEqual([
        503,
        expect.stringContaining('The prediction log takes nothing more'),
      ])
      expect(refused.text).not.toContain(disk!.path)
      expect((await ask(second.port, 'relaxed')).status).toBe(200)
      const full = await control.reported(({ token, log }) => token === 'second' && log.dropped > 0)
      expect(full.log).toMatchObject({ logged: 5, dropped: 1, answered: 6 })

      disk!.empty()
      await expect.poll(async () => (await ask(second.port, 'durable')).status, { timeout: 20_000 }).toBe(200)
      const sealed = async () => (await listSegments(spoolDir, 'gateway')).filter((segment) => segment.sealed).length
      await expect.poll(sealed, { timeout: 20_000 }).toBe(1) // what the first had left open
      second.child.kill('SIGTERM')
      expect(await second.exited).toEqual([0, null])
      const lakeDir = join(lab.dir, 'lake')
      await runIngestJob({ spoolDir, lakeDir })
      const found = reconcile(await lakeTotals(lakeDir), await spoolBacklog(spoolDir), Date.now())
      expect(found).toMatchObject({ inLake: 6, logged: 6, dropped: 1, agrees: true, why: null })
    },
  )

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
