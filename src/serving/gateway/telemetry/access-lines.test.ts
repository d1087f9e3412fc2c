import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openAccessLines } from './access-lines.ts'
import type { AccessLine } from './access-lines.ts'

let folder: string
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'mr-access-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const line = (target: string): AccessLine => ({
  method: 'GET',
  target,
  route: null,
  endpoint: null,
  version: null,
  status: 503,
  bytesIn: 0,
  bytesOut: 0,
  latencyMs: 1,
  caller: null,
  peer: '',
  traceId: null,
  predictionId: null,
  retries: 0,
  sampled: false,
})

const written = (path: string): { msg: string; target?: string; lines?: number }[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text) as { msg: string })

describe('the file of the access log', () => {
  it('has every line once it is closed', async () => {
    const path = join(folder, 'logs', 'gateway.access.log')
    const lines = openAccessLines(path, 'gateway')
    lines.write(true, line('/a'))
    lines.write(false, line('/b'))
    await lines.close()
    expect(written(path)).toMatchObject([{ target: '/a' }, { target: '/b' }])
    expect(lines).toMatchObject({ lines: 2, dropped: 0 })
  })

  it('that can not be opened costs lines, which are counted and said once it can, and never the gateway', async () => {
    const inTheWay = join(folder, 'logs')
    writeFileSync(inTheWay, 'a file where the folder should be')
    const path = join(inTheWay, 'gateway.access.log')
    const lines = openAccessLines(path, 'gateway', 0)
    lines.write(true, line('/lost'))
    await expect.poll(() => lines.dropped).toBe(1)
    lines.write(true, line('/lost-too'))
    await expect.poll(() => lines.dropped).toBe(2)
    await sleep(1_100) // its time to be written comes, and nothing is there to write to
    rmSync(inTheWay)
    mkdirSync(inTheWay)
    lines.write(true, line('/kept'))
    await expect.poll(() => written(path).length, { timeout: 5_000 }).toBe(2)
    expect(written(path)).toMatchObject([{ target: '/kept' }, { msg: 'lines were left out', lines: 2 }])
    expect(lines).toMatchObject({ lines: 1, dropped: 2 })
    await lines.close()
  })

  it('that can not be opened is not tried with every line', async () => {
    writeFileSync(join(folder, 'logs'), '')
    const lines = openAccessLines(join(folder, 'logs', 'x.log'), 'gateway', 60_000)
    lines.write(true, line('/a'))
    await expect.poll(() => lines.dropped).toBe(1)
    for (let n = 0; n < 100; n += 1) lines.write(true, line('/b'))
    expect(lines).toMatchObject({ lines: 0, dropped: 101 })
    await lines.close()
  })
})
