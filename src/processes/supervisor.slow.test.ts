import { spawn, type ChildProcess } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { processStartTime } from '../kernel/runtime/process-identity.ts'
import { readProcessRecord, readProcessRecords } from '../kernel/runtime/process-record.ts'
import { socketDir } from '../kernel/runtime/socket-dir.ts'
import { findAll, stopAll } from '../kernel/runtime/stop-all.ts'
import { smallDisk } from '../testing/small-disk.ts'
import { againInMs, type SupervisorEvent } from './supervised-child.ts'

/**
 * A child answers /identity and, as `control-plane`, starts a replica in a session of its own. A supervisor is a real
 * process too, so that it can be killed.
 */
const childSource = `
import { createServer } from 'node:http'
import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { spawn } from 'node:child_process'
const o = JSON.parse(readFileSync(process.argv[2], 'utf8'))
if (existsSync(o.dataDir + '/' + o.id + '.fatal')) {
  process.stderr.write(JSON.stringify({ code: 'MR_PORT_TAKEN', kind: 'conflict', message: 'Port 1 is taken.', fix: 'Use another.' }) + '\\n')
  process.exit(12)
}
if (process.env.MILLRACE_DATABASE_URL !== undefined) appendFileSync(o.dataDir + '/told', o.id + '\\n')
rmSync(o.socketPath, { force: true })
createServer((q, r) => r.end(JSON.stringify({ id: o.id, token: o.token, pid: process.pid }))).listen(o.socketPath)
if (o.id === 'control-plane') spawn('setsid', ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'], { stdio: 'ignore' })
process.on('SIGTERM', () => {
  appendFileSync(o.dataDir + '/order', o.id + '\\n')
  if (!existsSync(o.dataDir + '/hang')) process.exit(0)
})
`
const supervisorSource = (dataDir: string, sockets: string, drainMs = 1_500) => `
import { runSupervisor } from ${JSON.stringify(new URL('./supervisor.ts', import.meta.url).href)}
const child = (id) => ({
  id, role: id, entry: ${JSON.stringify(join(dataDir, 'child.mjs'))}, fatalExitCodes: [12],
  socketPath: ${JSON.stringify(sockets)} + '/' + id + '.sock',
  options: (self) => ({ ...self, dataDir: ${JSON.stringify(dataDir)}, socketPath: ${JSON.stringify(sockets)} + '/' + self.id + '.sock' }),
})
const say = (e) => process.stdout.write(JSON.stringify(e) + '\\n')
try {
  await runSupervisor({ dataDir: ${JSON.stringify(dataDir)}, children: [child('control-plane'), child('gateway')], onEvent: say, drainMs: ${drainMs} })
} catch (e) {
  say({ kind: 'error', code: e.code, message: e.message, fix: e.fix })
  process.exitCode = 1
}
`

interface Up {
  process: ChildProcess
  events: (SupervisorEvent | { kind: 'error'; code: string; message: string; fix: string })[]
  exited: Promise<number | null>
}

let dataDir: string
const disk = smallDisk(1024 * 1024)
afterAll(() => disk?.remove())
const ups: Up[] = []
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'millrace-up-'))
  writeFileSync(join(dataDir, 'child.mjs'), childSource)
  writeFileSync(join(dataDir, 'up.ts'), supervisorSource(dataDir, socketDir(dataDir)))
})
afterEach(async () => {
  for (const up of ups.splice(0)) up.process.kill('SIGKILL')
  await stopAll(dataDir, { drainMs: 0, graceMs: 100 })
  const left = await findAll(dataDir)
  rmSync(dataDir, { recursive: true, force: true })
  if (left.length > 0) throw new Error(`Left running: ${left.join(', ')}`)
})

function up(env: Record<string, string> = {}): Up {
  const child = spawn(process.execPath, [join(dataDir, 'up.ts')], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const events: Up['events'] = []
  let rest = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) events.push(JSON.parse(line) as SupervisorEvent)
  })
  const exited = new Promise<number | null>((resolve) => child.on('close', resolve))
  const started = { process: child, events, exited }
  ups.push(started)
  return started
}

async function until(met: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await met())) {
    if (performance.now() > deadline) throw new Error(`It did not come about within ${limitMs} ms.`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const saw = (u: Up, kind: string, id?: string) =>
  u.events.some((e) => e.kind === kind && (id === undefined || ('id' in e && e.id === id)))
const pidOf = (id: string) => readProcessRecord(dataDir, id)?.pid ?? -1
const ready = (u: Up) => until(() => saw(u, 'all-ready'))

it('starts its children, says when all are ready, and leaves nothing behind at SIGTERM', async () => {
  const running = up()
  await ready(running)
  await until(async () => (await findAll(dataDir)).length >= 5)
  running.process.kill('SIGTERM')
  expect(await running.exited).toBe(0)
  expect(readFileSync(join(dataDir, 'order'), 'utf8')).toBe('gateway\ncontrol-plane\n')
  expect(await findAll(dataDir)).toEqual([])
  expect(readProcessRecords(dataDir)).toEqual([])
  expect(readdirSync(socketDir(dataDir))).toEqual([])
})

it('keeps the database’s address and everybody’s files to itself, also in a folder that others may enter', async () => {
  chmodSync(dataDir, 0o755)
  const running = up({ MILLRACE_DATABASE_URL: 'postgres://ann:secret@localhost/millrace' })
  await ready(running)
  expect(existsSync(join(dataDir, 'told'))).toBe(false)
  const open = ['spool', 'runs', 'run', 'processes', 'logs', 'gateway', 'replicas'].filter(
    (name) => (statSync(join(dataDir, name)).mode & 0o077) !== 0,
  )
  expect(open).toEqual([])
})

it('keeps every log within its limit, those of replicas and its own among them', async () => {
  const running = up()
  await ready(running)
  const logs = ['up.log', 'replica-7.log', 'gateway.access.log'].map((name) => join(dataDir, 'logs', name))
  for (const log of logs) {
    writeFileSync(log, 'first\n')
    truncateSync(log, 70 * 1024 * 1024)
    appendFileSync(log, '\nlast\n')
  }
  const isCut = (log: string) => statSync(log).size < 40 * 1024 * 1024 && readFileSync(log, 'utf8').endsWith('last\n')
  await until(() => logs.every(isCut), 60_000)
  expect(logs.map((log) => readFileSync(log, 'utf8').startsWith('first\n'))).toEqual([true, true, true])
})

it('removes the sockets of replicas that were killed', async () => {
  const running = up()
  await ready(running)
  for (const end of ['sock', 'frames']) writeFileSync(join(socketDir(dataDir), `replica-1.${end}`), '')
  running.process.kill('SIGTERM')
  await running.exited
  expect(readdirSync(socketDir(dataDir))).toEqual([])
})

it('starts again what dies, and only that', async () => {
  const running = up()
  await ready(running)
  const [gateway, control] = [pidOf('gateway'), pidOf('control-plane')]
  process.kill(gateway, 'SIGKILL')
  await until(() => running.events.filter((e) => e.kind === 'ready' && e.id === 'gateway').length === 2)
  expect(pidOf('gateway')).not.toBe(gateway)
  expect(pidOf('control-plane')).toBe(control)
  expect(running.events).toContainEqual({ kind: 'exited', id: 'gateway', code: 137, againInMs: 100 })
})

it('refuses a second one, naming the first, and disturbs nothing', async () => {
  const first = up()
  await ready(first)
  const gateway = pidOf('gateway')
  const second = up()
  expect(await second.exited).toBe(1)
  expect(second.events).toMatchObject([{ kind: 'error', code: 'MR_SUPERVISOR_RUNNING' }])
  const error = second.events[0] as { message: string; fix: string }
  expect(error.message).toContain(String(first.process.pid))
  expect(error.message).toContain(dataDir)
  expect(error.fix).toContain('millrace down')
  expect(pidOf('gateway')).toBe(gateway)
})

it('adopts what a killed supervisor has left, and starts what died meanwhile', async () => {
  const first = up()
  await ready(first)
  const [gateway, control] = [pidOf('gateway'), pidOf('control-plane')]
  first.process.kill('SIGKILL')
  await first.exited
  process.kill(control, 'SIGKILL')
  const second = up()
  await ready(second)
  expect(second.events).toContainEqual({ kind: 'adopted', id: 'gateway', pid: gateway })
  expect(saw(second, 'started', 'gateway')).toBe(false)
  expect(saw(second, 'started', 'control-plane')).toBe(true)
  process.kill(gateway, 'SIGKILL')
  await until(() => saw(second, 'started', 'gateway'))
})

it('does not adopt a process that is hung', async () => {
  const first = up()
  await ready(first)
  const gateway = pidOf('gateway')
  first.process.kill('SIGKILL')
  process.kill(gateway, 'SIGSTOP')
  const second = up()
  await ready(second)
  expect(saw(second, 'adopted', 'gateway')).toBe(false)
  expect(pidOf('gateway')).not.toBe(gateway)
  expect(processStartTime(gateway)).toBeNull()
})

it('stops all with the error of a child that cannot be started', async () => {
  writeFileSync(join(dataDir, 'gateway.fatal'), '')
  const running = up()
  expect(await running.exited).toBe(1)
  expect(running.events.at(-1)).toMatchObject({
    kind: 'error',
    code: 'MR_PORT_TAKEN',
    message: 'Port 1 is taken.',
    fix: 'Use another.',
  })
  expect(await findAll(dataDir)).toEqual([])
})

it('tries a child again that was ready once, whatever it says, and lets the others serve', async () => {
  const running = up()
  await ready(running)
  const control = pidOf('control-plane')
  writeFileSync(join(dataDir, 'gateway.fatal'), '')
  process.kill(pidOf('gateway'), 'SIGKILL')
  await until(() => running.events.filter((e) => e.kind === 'not-started' && e.id === 'gateway').length === 2)
  expect(running.events).toContainEqual(
    expect.objectContaining({ kind: 'not-started', why: expect.stringContaining('Port 1 is taken.') as string }),
  )
  rmSync(join(dataDir, 'gateway.fatal'))
  await until(() => running.events.filter((e) => e.kind === 'ready' && e.id === 'gateway').length === 2)
  expect(pidOf('control-plane')).toBe(control)
})

it.runIf(disk !== null)('starts a child again on a disk that is full', async () => {
  const before = dataDir
  dataDir = join(disk!.path, 'data')
  cpSync(before, dataDir, { recursive: true })
  rmSync(before, { recursive: true })
  writeFileSync(join(dataDir, 'up.ts'), supervisorSource(dataDir, socketDir(dataDir)))
  const running = up()
  await ready(running)
  disk!.fill()
  for (let time = 2; time < 5; time++) {
    const first = pidOf('gateway')
    process.kill(first, 'SIGKILL')
    await until(() => running.events.filter((e) => e.kind === 'ready' && e.id === 'gateway').length === time)
    expect(pidOf('gateway')).not.toBe(first)
    disk!.fill()
  }
  expect(running.events.filter((e) => e.kind === 'not-started')).toEqual([])
})

it('drains for a limited time, and at a second Ctrl-C not at all', async () => {
  const drainMs = 24 * 3_600_000
  writeFileSync(join(dataDir, 'up.ts'), supervisorSource(dataDir, socketDir(dataDir), drainMs))
  const running = up()
  await ready(running)
  writeFileSync(join(dataDir, 'hang'), '')
  running.process.kill('SIGINT')
  await until(() => existsSync(join(dataDir, 'order')))
  // The gateway was told, and takes its time: nothing comes to its end before a day has gone.
  expect(running.events.filter(({ kind }) => kind === 'stopped')).toEqual([])
  running.process.kill('SIGINT')
  expect(await running.exited).toBe(0)
  expect(running.events.flatMap((e) => (e.kind === 'stopped' ? [e.id] : []))).toContain('gateway')
  expect(await findAll(dataDir)).toEqual([])
})

it('is stopped by `stopAll` from another process, alive or dead', async () => {
  const alive = up()
  await ready(alive)
  const stopped = await stopAll(dataDir)
  expect(stopped.map(({ id }) => id)).toEqual(['control-plane', 'gateway', 'supervisor'])
  expect(await alive.exited).toBe(0)

  const killed = up()
  await ready(killed)
  killed.process.kill('SIGKILL')
  process.kill(pidOf('control-plane'), 'SIGKILL')
  await killed.exited
  await stopAll(dataDir)
  expect(await findAll(dataDir)).toEqual([])
  expect(readProcessRecords(dataDir)).toEqual([])
})

it('leaves nothing behind however often it is killed while starting', async () => {
  for (let round = 0; round < 6; round++) {
    const running = up()
    await new Promise((resolve) => setTimeout(resolve, 150 + Math.random() * 250))
    running.process.kill('SIGKILL')
    await running.exited
  }
  const last = up()
  await ready(last)
  const gateways = (await findAll(dataDir)).filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('gateway.json'),
  )
  expect(gateways).toEqual([pidOf('gateway')])
  last.process.kill('SIGTERM')
  await last.exited
  expect(await findAll(dataDir)).toEqual([])
})

it('waits longer after each failure, up to five seconds', () => {
  expect([1, 2, 3, 6, 7, 50].map(againInMs)).toEqual([100, 200, 400, 3_200, 5_000, 5_000])
})
