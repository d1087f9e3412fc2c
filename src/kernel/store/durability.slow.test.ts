import { execFileSync, spawn, spawnSync } from 'node:child_process'
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
import { prepareDatabase } from '../../testing/prepared-database.ts'
import { testPostgresDatabase } from '../../testing/test-store.ts'
import { openStore } from './open-store.ts'
import { openPostgres } from './postgres/open-postgres.ts'

const moduleUrl = JSON.stringify(new URL('./open-store.ts', import.meta.url).href)

/** Writes one row a transaction, each larger than the last, and says so after the commit. */
const writer = (dataDir: string, rows: number) => `
import { writeSync } from 'node:fs'
import { openStore } from ${moduleUrl}
const store = await openStore({ dataDir: ${JSON.stringify(dataDir)} })
const last = await store.db.selectFrom('setting').select((eb) => eb.fn.countAll().as('n')).executeTakeFirstOrThrow()
writeSync(1, 'open\\n')
for (let n = Number(last.n) + 1, end = n + ${rows}; n < end; n++) {
  const value = JSON.stringify('x'.repeat((n * 37) % 3000))
  await store.transaction(async (tx) => { await tx.insertInto('setting').values({ key: String(n), value }).execute() })
  writeSync(1, n + '\\n')
}
await store.close()
`

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'millrace-store-'))
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

const script = (source: string) => {
  const path = join(dataDir, 'script.ts')
  writeFileSync(path, source)
  return path
}
const rowsIn = async () => {
  const store = await openStore({ dataDir })
  const rows = await store.db.selectFrom('setting').select('key').execute()
  await store.close()
  return rows.map((row) => Number(row.key)).sort((a, b) => a - b)
}

/** Kills the writer some time after it has acknowledged so many rows. @returns the last one that it acknowledged */
async function writeAndKill(rows: number, afterMs: number): Promise<number> {
  const child = spawn(process.execPath, [script(writer(dataDir, 1e9))], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  let isToDie = false
  // A line that was cut is none yet.
  const numbers = () => output.slice(0, output.lastIndexOf('\n') + 1).match(/^\d+$/gm) ?? []
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (isToDie || !output.startsWith('open\n') || numbers().length < rows) return
    isToDie = true
    setTimeout(() => child.kill('SIGKILL'), afterMs)
  })
  await new Promise((resolve) => child.on('close', resolve))
  return Number(numbers().at(-1) ?? 0)
}

describe('the embedded database', () => {
  it('loses no acknowledged row when it is killed, however often', async () => {
    await prepareDatabase(dataDir)
    let acknowledged = 0
    for (let round = 0; round < 6; round++) {
      acknowledged = Math.max(acknowledged, await writeAndKill(round * 6, Math.random() * 30))
      const rows = await rowsIn()
      expect(rows.length).toBeGreaterThanOrEqual(acknowledged)
      expect(rows).toEqual(Array.from({ length: rows.length }, (_, i) => i + 1))
    }
    expect(acknowledged).toBeGreaterThan(20)
  })

  it('survives being killed while it is created', async () => {
    for (const afterMs of [400, 1_000, 2_000]) {
      const child = spawn(process.execPath, [script(writer(dataDir, 1))], { stdio: 'ignore' })
      setTimeout(() => child.kill('SIGKILL'), afterMs)
      await new Promise((resolve) => child.on('close', resolve))
    }
    const rows = await rowsIn()
    expect(rows.length).toBeLessThanOrEqual(3)
    expect(readdirSync(dataDir).filter((name) => name.includes('creating'))).toEqual([])
  })

  const hasStrace = spawnSync('strace', ['-V']).status === 0
  it.skipIf(!hasStrace)(
    'syncs each commit to disk before it acknowledges it (strace; install it to run this)',
    async () => {
      await prepareDatabase(dataDir)
      const trace = join(dataDir, 'trace')
      const args = [
        '-f',
        '-e',
        'trace=fsync,fdatasync,write',
        '-s',
        '8',
        '-o',
        trace,
        process.execPath,
        script(writer(dataDir, 30)),
      ]
      execFileSync('strace', args, { stdio: 'pipe' })
      const lines = readFileSync(trace, 'utf8').split('\n')
      const start = lines.findIndex((line) => line.includes('write(1, "open'))
      let synced = false
      let acknowledged = 0
      for (const line of lines.slice(start + 1)) {
        if (/ fsync\(\d+\)/.test(line)) synced = true
        if (!/write\(1, "\d+\\n"/.test(line)) continue
        expect(synced).toBe(true)
        synced = false
        acknowledged++
      }
      expect(acknowledged).toBe(30)
    },
  )

  it('refuses a second opener, naming the first, until that one is gone', async () => {
    await prepareDatabase(dataDir)
    const child = spawn(
      process.execPath,
      [script(`${writer(dataDir, 0)}\nsetInterval(() => {}, 1000)`.replace('await store.close()', ''))],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const refusal = { code: 'MR_STORE_LOCKED', message: expect.stringContaining(`process ${child.pid}`) }
    await expect(openStore({ dataDir })).rejects.toMatchObject(refusal)
    child.kill('SIGKILL')
    await new Promise((resolve) => child.on('close', resolve))
    const store = await openStore({ dataDir })
    await expect(openStore({ dataDir })).rejects.toMatchObject({ code: 'MR_STORE_LOCKED' })
    await store.close()
  })

  it('tells its progress at the first start only', async () => {
    const told: string[] = []
    await (await openStore({ dataDir, onProgress: (text) => told.push(text) })).close()
    expect(told[0]).toContain('first start')
    told.length = 0
    await (await openStore({ dataDir, onProgress: (text) => told.push(text) })).close()
    expect(told).toEqual([])
  })

  it('is closed to others, also where its data directory is not', async () => {
    chmodSync(dataDir, 0o755)
    await prepareDatabase(dataDir)
    for (const mode of [0o755, 0o700]) {
      chmodSync(join(dataDir, 'db'), mode)
      const store = await openStore({ dataDir })
      await store.close()
      expect(statSync(join(dataDir, 'db')).mode & 0o777).toBe(0o700)
    }
  })

  it('throws instead of waiting forever once it was closed', async () => {
    await prepareDatabase(dataDir)
    const store = await openStore({ dataDir })
    await store.close()
    await expect(store.transaction((tx) => tx.selectFrom('setting').selectAll().execute())).rejects.toThrow(
      /destroyed|closed/,
    )
  })

  it('says clearly that the data directory is a file, or below one', async () => {
    writeFileSync(join(dataDir, 'file'), '')
    await expect(openStore({ dataDir: join(dataDir, 'file') })).rejects.toMatchObject({ code: 'MR_DATA_DIR' })
    await expect(openStore({ dataDir: join(dataDir, 'file/below') })).rejects.toMatchObject({ code: 'MR_DATA_DIR' })
  })

  const canMount = userInfo().uid === 0 && spawnSync('unshare', ['-m', 'sh', '-c', 'command -v mount']).status === 0
  it.skipIf(!canMount)(
    'says clearly that the data directory is read-only, or full (needs root for small file systems)',
    () => {
      const place = join(dataDir, 'mount')
      mkdirSync(place)
      const open = script(`import { openStore } from ${moduleUrl}
      await openStore({ dataDir: ${JSON.stringify(place)} }).then(() => console.log('opened'), (e) => console.log(e.code + ' ' + e.message))
      process.exit()`)
      const on = (options: string) =>
        execFileSync(
          'unshare',
          [
            '-m',
            'sh',
            '-c',
            `mount -t tmpfs -o ${options} none '${place}' && '${process.execPath}' '${open}'; ls -A '${place}'`,
          ],
          { encoding: 'utf8' },
        )
      expect(on('ro')).toMatch(/^MR_DATA_DIR .*read-only/)
      expect(on('size=12m')).toMatch(/^MR_DATA_DIR .*full.*\ndb\.lock\n$/)
      expect(existsSync(place)).toBe(true)
    },
  )
})

const server = process.env['MILLRACE_TEST_POSTGRES_URL']
describe.skipIf(server === undefined)('PostgreSQL (set MILLRACE_TEST_POSTGRES_URL to run)', () => {
  let databaseUrl: string
  let drop: () => Promise<void>
  beforeEach(async () => {
    const database = await testPostgresDatabase()
    databaseUrl = database.databaseUrl
    drop = database.drop
  })
  afterEach(() => drop())

  it('lets one control plane in at a time, naming the other', async () => {
    const first = await openStore({ dataDir, databaseUrl })
    const second = openPostgres({ databaseUrl, lockWaitMs: 200 })
    await expect(second).rejects.toMatchObject({
      code: 'MR_CONTROL_PLANE_ACTIVE',
      message: expect.stringContaining(`pid ${process.pid}`),
    })
    await first.close()
    await (await openStore({ dataDir, databaseUrl })).close()
  })

  it('says once that the lock is lost', async () => {
    const lost: string[] = []
    const store = await openPostgres({ databaseUrl, onLockLost: (why) => lost.push(why), onWarning: () => {} })
    const { default: pg } = await import('pg')
    const admin = new pg.Client(server)
    await admin.connect()
    await admin.query('select pg_terminate_backend(pid) from pg_locks where locktype = $1 and granted', ['advisory'])
    await admin.end()
    await expect.poll(() => lost, { timeout: 10_000 }).toHaveLength(1)
    await store.close()
    expect(lost).toHaveLength(1)
  })

  it('says that the server cannot be reached, without the password', async () => {
    const error = await openPostgres({ databaseUrl: 'postgresql://me:secret@127.0.0.1:1/x' }).catch(
      (thrown: Error) => thrown,
    )
    expect(error).toMatchObject({ code: 'MR_STORE_UNAVAILABLE', retryable: true })
    expect((error as Error).message).toContain('me@127.0.0.1:1/x')
    expect((error as Error).message).not.toContain('secret')
  })
})
