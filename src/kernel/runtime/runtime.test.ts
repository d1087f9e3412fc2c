import { createServer, type Server } from 'node:http'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readIfThere, writeFileAtomic } from './atomic-file.ts'
import { asDataDirError, prepareDataDir } from './data-dir.ts'
import { processEntry } from './process-entry.ts'
import { isSameProcessAlive, ownIdentity, processStartTime } from './process-identity.ts'
import { tryProcessLock } from './process-lock.ts'
import {
  handshake,
  isAlive,
  readProcessRecord,
  readProcessRecords,
  removeProcessRecord,
  writeProcessRecord,
} from './process-record.ts'
import type { ProcessRecord } from './process-record.ts'
import { environmentFor } from './process/spawn-detached.ts'
import { socketDir } from './socket-dir.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-runtime-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const record = (more: Partial<ProcessRecord> = {}): ProcessRecord => ({
  id: 'replica-9',
  role: 'replica',
  token: 'secret',
  socketPath: null,
  startedAtMs: 1,
  ...ownIdentity(),
  ...more,
})

describe('process records', () => {
  it('are written, read, and removed only for their own start', () => {
    writeProcessRecord(dir, record())
    writeProcessRecord(dir, record({ id: 'gateway', role: 'gateway' }))
    expect(readProcessRecords(dir).map(({ id }) => id)).toEqual(['gateway', 'replica-9'])
    removeProcessRecord(dir, 'replica-9', 'another')
    expect(readProcessRecord(dir, 'replica-9')).toEqual(record())
    removeProcessRecord(dir, 'replica-9', 'secret')
    expect(readProcessRecord(dir, 'replica-9')).toBeNull()
  })

  it('are empty before the first', () => {
    expect(readProcessRecords(join(dir, 'nothing'))).toEqual([])
  })

  it.each(['../x', 'a/b', '', '.hidden', 'a\0b'])('refuse %j as an id', (id) => {
    expect(() => writeProcessRecord(dir, record({ id }))).toThrow(/no process id/)
  })

  it.each([
    '',
    '{',
    'null',
    '{"id":"x","pid":1,"startTime":"1","token":"t"}',
    '{"id":"x","pid":-5,"startTime":"1","token":"t"}',
  ])('say which file is broken: %j', (text) => {
    mkdirSync(join(dir, 'run'))
    writeFileSync(join(dir, 'run/x.json'), text)
    expect(() => readProcessRecords(dir)).toThrow(/run\/x\.json/)
  })

  it('know a living process from another with its pid', () => {
    expect(isAlive(record())).toBe(true)
    expect(isAlive(record({ startTime: 'another' }))).toBe(false)
    expect(isSameProcessAlive({ pid: 2 ** 22 - 1, startTime: '1' })).toBe(false)
    expect(processStartTime(process.pid)).toBe(ownIdentity().startTime)
  })
})

describe('handshake', () => {
  let server: Server
  let socketPath: string
  const serve = (answer: string | null) =>
    new Promise<void>((resolve) => {
      socketPath = join(dir, 's.sock')
      server = createServer(
        (request, response) => answer !== null && request.url === '/identity' && response.end(answer),
      )
      server.listen(socketPath, resolve)
    })
  afterEach(() => server?.close())

  it.each([
    ['the same id and token', { id: 'replica-9', token: 'secret', pid: 1 }, true],
    ['another token', { id: 'replica-9', token: 'other' }, false],
    ['another id', { id: 'replica-8', token: 'secret' }, false],
    ['something else', 'hello', false],
  ])('accepts the process or not: %s', async (_, answer, accepted) => {
    await serve(JSON.stringify(answer))
    expect(await handshake(record({ socketPath }), 1_000)).toBe(accepted)
  })

  it('is false for a process that does not answer, within its time', async () => {
    await serve(null)
    const started = performance.now()
    expect(await handshake(record({ socketPath }), 200)).toBe(false)
    expect(performance.now() - started).toBeLessThan(1_000)
    server.closeAllConnections()
    expect(await handshake(record({ socketPath: join(dir, 'no.sock') }), 1_000)).toBe(false)
    expect(await handshake(record(), 1_000)).toBe(false)
  })
})

describe('the socket directory', () => {
  it('is short, private, and the same for the same data directory', () => {
    const env = { XDG_RUNTIME_DIR: dir }
    const sockets = socketDir(join(dir, 'data'), env)
    expect(sockets).toMatch(new RegExp(`^${dir}/millrace-${userInfo().uid}/[0-9a-f]{12}$`))
    expect(statSync(sockets).mode & 0o777).toBe(0o700)
    expect(socketDir(join(dir, 'data/../data/'), env)).toBe(sockets)
    expect(socketDir(join(dir, 'other'), env)).not.toBe(sockets)
  })

  it('is made private where it was not, and refused where it is a file or too long', () => {
    const base = join(dir, `millrace-${userInfo().uid}`)
    mkdirSync(base, { mode: 0o755 })
    chmodSync(base, 0o755)
    socketDir('/x', { XDG_RUNTIME_DIR: dir })
    expect(statSync(base).mode & 0o777).toBe(0o700)
    expect(() => socketDir('/x', { XDG_RUNTIME_DIR: join(dir, 'y'.repeat(80)) })).toThrow(/too long/)
  })
})

describe('files', () => {
  it('are replaced as a whole, and leave nothing behind when that fails', () => {
    const path = join(dir, 'file')
    writeFileAtomic(path, 'one')
    writeFileAtomic(path, 'two')
    expect(readIfThere(path)).toBe('two')
    mkdirSync(join(dir, 'taken'))
    expect(() => writeFileAtomic(join(dir, 'taken'), 'x')).toThrow(/EISDIR|ENOTEMPTY|EEXIST/)
    expect(readdirSync(dir).sort()).toEqual(['file', 'taken'])
    expect(readIfThere(join(dir, 'no'))).toBeNull()
  })

  it('explain what is wrong with a data directory', () => {
    writeFileSync(join(dir, 'file'), '')
    expect(() => prepareDataDir(join(dir, 'file/below'))).toThrow(/a part of the path is a file/)
    expect(asDataDirError({ code: 'ENOSPC' }, '/data')).toMatchObject({
      message: "Cannot use '/data': the disk is full (ENOSPC).",
    })
    expect(asDataDirError({ code: 'EROFS' }, '/data')).toMatchObject({
      code: 'MR_DATA_DIR',
      fix: expect.stringContaining('--data-dir'),
    })
    const other = new TypeError('x')
    expect(asDataDirError(other, '/data')).toBe(other)
  })
})

describe('the process lock', () => {
  it('is held once, names its holder, and can be had again after it was released', async () => {
    const path = join(dir, 'lock')
    const first = await tryProcessLock(path)
    const second = await tryProcessLock(path)
    expect(second).toMatchObject({ kind: 'busy', holder: { pid: process.pid } })
    if (first.kind === 'held') first.lock.release()
    expect(existsSync(`${path}.holder`)).toBe(false)
    const third = await tryProcessLock(path)
    expect(third.kind).toBe('held')
    if (third.kind === 'held') third.lock.release()
  })

  it('is not kept by whoever could not write its name beside it', async () => {
    const path = join(dir, 'lock')
    mkdirSync(join(dir, 'lock.holder', 'in the way'), { recursive: true })
    await expect(tryProcessLock(path)).rejects.toThrow('lock.holder')
    rmSync(join(dir, 'lock.holder'), { recursive: true })
    const next = await tryProcessLock(path)
    expect(next.kind).toBe('held')
    writeFileSync(join(dir, 'lock.holder'), '{"pid":')
    expect(await tryProcessLock(path)).toEqual({ kind: 'busy', holder: null })
    if (next.kind === 'held') next.lock.release()
  })

  it('says that its folder is not there', async () => {
    await expect(tryProcessLock(join(dir, 'nowhere/lock'))).rejects.toMatchObject({ code: 'MR_DATA_DIR' })
  })
})

describe('starting processes', () => {
  it('finds the entry of a process from source and from a bundle', () => {
    for (const [folder, ending] of [
      ['src/kernel/runtime', 'ts'],
      ['dist/chunks', 'js'],
      ['dist', 'js'],
    ] as const) {
      const root = folder.split('/')[0] ?? ''
      mkdirSync(join(dir, root, 'processes'), { recursive: true })
      writeFileSync(join(dir, root, `processes/job.${ending}`), '')
      const from = new URL(`file://${join(dir, folder, `x.${ending}`)}`).href
      expect(processEntry('job', from)).toBe(join(dir, root, `processes/job.${ending}`))
    }
    expect(() => processEntry('nothing')).toThrow(/no such file/)
  })

  it('hands on only the variables that are named', () => {
    const env = { PATH: '/bin', LC_ALL: 'C', LC_TIME: 'C', SECRET: 'x', UNSET: undefined }
    expect(environmentFor(['PATH', 'LC_*', 'UNSET'], env)).toEqual({ PATH: '/bin', LC_ALL: 'C', LC_TIME: 'C' })
  })
})

it('writes process records that only their user can read', () => {
  writeProcessRecord(dir, record())
  expect(statSync(join(dir, 'run/replica-9.json')).mode & 0o077).toBe(0)
  expect(readFileSync(join(dir, 'run/replica-9.json'), 'utf8')).toContain('secret')
})
