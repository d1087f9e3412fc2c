import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  install,
  predict,
  processesOf,
  query,
  request,
  serving,
  showLogsOnFailure,
  socketsOf,
  train,
  until,
  type Installation,
} from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'
import { hasCommand } from '../src/testing/has-command.ts'

/* Places that Millrace can't use, or that fill up under it. */

const isRoot = process.getuid?.() === 0
const mayMount = isRoot && hasCommand('mount')
const asRoot = mayMount ? '' : ' (needs mount and the right to mount a tmpfs; run it as root)'

function mountSmallDisk(sizeBytes: number): { dir: string; remount(how: 'ro' | 'rw'): void; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), 'mr-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', dir])
  return {
    dir,
    remount: (how) => void execFileSync('mount', ['-o', `remount,${how}`, dir]),
    remove: () => {
      execFileSync('umount', ['-l', dir])
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

describe('`up` is refused, says what to do, and leaves nothing behind', () => {
  let project: Installation
  beforeEach(() => {
    project = install(quickFiles({ models: { coin: quickModel } }))
    return () => project.remove()
  })

  it('on a port that another program holds', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise((done) => other.once('listening', done))
    const { port } = other.address() as AddressInfo
    try {
      const refused = await project.millrace(['up', '--detach', '--port', String(port)])
      expect(refused).toMatchObject({ code: 5, stdout: '' })
      expect(refused.stderr).toMatch(
        new RegExp(`listen on 127\\.0\\.0\\.1:${port}: another program holds that port\\.\nfix: .*gateway\\.port`),
      )
      expect(await processesOf(project)).toEqual([])
      expect(socketsOf(project)).toEqual([])
    } finally {
      other.close()
    }
    // The place is as good as before.
    await project.up()
    await project.down()
  })

  it('on a data directory where a file lies', async () => {
    writeFileSync(project.dataDir, 'not a folder')
    const refused = await project.millrace(['up', '--port', '0'])
    expect(refused).toMatchObject({
      code: 7,
      stdout: '',
      stderr: expect.stringMatching(/Cannot use '.*\.millrace': .*\nfix: .*--data-dir/),
    })
    rmSync(project.dataDir)
  })

  it.skipIf(isRoot)('on a data directory that this user may not write', async () => {
    mkdirSync(project.dataDir)
    chmodSync(project.dataDir, 0o500)
    const refused = await project.millrace(['up', '--port', '0'])
    expect(refused).toMatchObject({
      code: 7,
      stdout: '',
      stderr: expect.stringMatching(/Cannot use '.*\.millrace': permission denied .*\nfix: .*--data-dir/),
    })
  })

  it.skipIf(!mayMount)(`on a data directory of a read-only file system${asRoot}`, async () => {
    const disk = mountSmallDisk(10_000_000)
    try {
      disk.remount('ro')
      for (const dataDir of [disk.dir, join(disk.dir, 'new')]) {
        const refused = await project.millrace(['up', '--port', '0', '--data-dir', dataDir])
        expect(refused).toMatchObject({ code: 7, stdout: '' })
        expect(refused.stderr).toMatch(
          /Cannot use '.*': the file system is read-only \(EROFS\)\.\nfix: Mount it for writing, or choose another place with --data-dir\./,
        )
      }
    } finally {
      disk.remove()
    }
  })

  it('where another Millrace runs already, which is not disturbed', async () => {
    await project.up()
    const before = await processesOf(project)
    for (const how of [['--detach'], []]) {
      const refused = await project.millrace(['up', '--port', '0', ...how])
      expect(refused).toMatchObject({
        code: 5,
        stdout: '',
        stderr: expect.stringMatching(/already runs Millrace[\s\S]*\nfix: /),
      })
    }
    expect(await processesOf(project)).toEqual(before)
    expect(await project.api.status.get()).toMatchObject({ project: { name: 'quick', revision: 1 } })
  })
})

describe.skipIf(!mayMount)(`a disk that fills up${asRoot}`, () => {
  const DISK_BYTES = 400_000_000
  const MIN_FREE_BYTES = 40_000_000
  const CHUNK_BYTES = 4_000_000
  const disk = mayMount ? mountSmallDisk(DISK_BYTES) : null
  const ballast = join(disk?.dir ?? '', 'ballast')
  const full = install(
    quickFiles({
      storage: { minFree: `${MIN_FREE_BYTES}B` },
      models: {
        relaxed: { ...quickModel, log: { mode: 'relaxed' } },
        durable: { ...quickModel, log: { mode: 'durable' } },
      },
    }),
    { dataDir: join(disk?.dir ?? '', 'data') },
  )
  /** Prediction ids that were given out, by endpoint. */
  const acknowledged: Record<'relaxed' | 'durable', string[]> = { relaxed: [], durable: [] }
  let origin: string

  beforeAll(async () => {
    await full.up()
    await Promise.all([train(full, 'relaxed'), train(full, 'durable')])
    await serving(full, 'durable')
    origin = new URL((await serving(full, 'relaxed')).url!).origin
  })
  beforeEach(() => showLogsOnFailure(full))
  afterAll(async () => {
    await full.remove()
    disk?.remove()
  })

  /** Takes all but so many bytes, whatever else is written meanwhile. */
  function leave(freeBytes: number): void {
    try {
      for (;;) {
        const { bavail, bsize } = statfsSync(disk!.dir)
        const takeBytes = bavail * bsize - freeBytes
        if (takeBytes <= 0) return
        writeFileSync(ballast, Buffer.alloc(Math.min(takeBytes, CHUNK_BYTES)), { flag: 'a' })
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }

  async function ask(endpoint: 'relaxed' | 'durable'): Promise<{ status: number; error: string | null }> {
    const { status, headers, body } = await request(`${origin}/v2/models/${endpoint}/infer`, { inputs: row(1, 0) })
    if (status === 200) acknowledged[endpoint].push(headers.get('millrace-prediction-id')!)
    return { status, error: status === 200 ? null : (body as { error: string }).error }
  }

  async function askOften(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      expect(await ask('relaxed')).toEqual({ status: 200, error: null })
      expect(await ask('durable')).toMatchObject({
        status: 503,
        error: expect.stringMatching(/prediction log takes nothing more/),
      })
    }
  }

  it('is used as long as there is room', async () => {
    expect(await ask('relaxed')).toMatchObject({ status: 200 })
    expect(await ask('durable')).toMatchObject({ status: 200 })
  })

  it('below the watermark takes no durable prediction, no label and no run, and relaxed ones are counted as dropped', async () => {
    leave(MIN_FREE_BYTES / 2)
    await until('the gateway to see it', async () => (await ask('durable')).status === 503)
    await askOften(20)
    const [id] = acknowledged.durable
    expect(await request(`${origin}/feedback`, { id, label: 1 })).toMatchObject({
      status: 503,
      body: { error: expect.stringContaining('No label was accepted') },
    })
    await expect
      .poll(() => full.api.predictionLog.status(), { timeout: 60_000, interval: 500 })
      .toMatchObject({ dropped: expect.toSatisfy((n: number) => n >= 20) })
    const refused = await full.millrace(['train', 'relaxed'])
    expect(refused).toMatchObject({
      code: 7,
      stderr: expect.stringMatching(/below the watermark[\s\S]*\nfix: Free some space/),
    })
    const { disk: seen, warnings } = await full.api.status.get()
    expect(seen).toMatchObject({ low: true, minFreeBytes: MIN_FREE_BYTES })
    expect(warnings).toContainEqual(expect.objectContaining({ text: expect.stringMatching(/disk|space/) }))
  })

  it('with not a byte left serves on', async () => {
    leave(0)
    await askOften(20)
    expect(await full.millrace(['models', 'show', 'relaxed'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('disk'),
    })
    // What can't be kept is refused, and the control plane lives on.
    const refused = await full.millrace(['import', 'better.onnx', '--model', 'relaxed'])
    expect(refused).toMatchObject({ stdout: '', stderr: expect.stringMatching(/(disk|space)[\s\S]*\nfix: .*[Ff]ree/) })
    expect(await full.api.versions.list({ model: 'relaxed' })).toHaveLength(1)
  })

  it('serves on also while the control plane can not start there again', async () => {
    const { controlPlane } = await full.api.status.get()
    const thatServe = async () => (await processesOf(full)).filter((line) => /gateway|model-server/.test(line))
    const before = await thatServe()
    process.kill(controlPlane.pid, 'SIGKILL')
    await sleep(3_000) // some tries of the supervisor, which can't even write down what it does
    await askOften(5)
    expect(before).toHaveLength(3)
    expect(await thatServe()).toEqual(before)
  })

  it('goes on by itself once there is room, having lost nothing that was acknowledged', async () => {
    truncateSync(ballast)
    await until('durable predictions to be taken again', async () => (await ask('durable')).status === 200)
    await until('the disk to be fine', async () => !(await full.api.status.get()).disk.low)
    const { run, version } = await train(full, 'relaxed', { file: 'better.onnx' })
    expect(run).toMatchObject({ status: 'succeeded' })
    expect(version).toMatchObject({ status: 'passed' })
    await serving(full, 'relaxed', 'relaxed@2')
    expect(await predict(`${origin}/v2/models/relaxed/infer`, row(1, 0))).toMatchObject({ version: '2' })
    await expect
      .poll(() => full.api.predictionLog.status(), { timeout: 60_000, interval: 500 })
      .toMatchObject({
        agrees: true,
        inSpool: 0,
        answered: acknowledged.relaxed.length + acknowledged.durable.length + 1,
      })
    const found = new Set(
      (await query(full, `select prediction_id from predictions where model = 'durable'`)).map(([id]) => id),
    )
    expect(acknowledged.durable.filter((id) => !found.has(id))).toEqual([])
    expect(found.size).toBe(acknowledged.durable.length)
    const { dropped, inLake } = await full.api.predictionLog.status()
    expect(dropped + inLake).toBe(acknowledged.relaxed.length + acknowledged.durable.length + 1)
  })
})
