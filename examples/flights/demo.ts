import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { scoreWith } from './demo/frozen-model.ts'
import { GatewayClient, inferBody } from './demo/gateway-client.ts'
import { readLake, untilInLake } from './demo/lake.ts'
import { Ledger } from './demo/ledger.ts'
import { DemoError, Millrace } from './demo/millrace-client.ts'
import { readDays, type Day } from './demo/online-features.ts'
import { Replay, type Replayed } from './demo/replay.ts'
import { buildReport } from './demo/report.ts'
import type { DemoReport } from './demo/report-schema.ts'
import { summarise } from './demo/summary.ts'
import { View } from './demo/view.ts'
import { landWeek, vegaFlights } from './land-data.ts'
import { weekName } from './weeks.ts'

/**
 * The flights example, replayed: five months of 2001 in about two minutes. `npm run demo`, or
 *
 *   node examples/flights/demo.ts [--report demo-report.json] [--port 8700]
 *
 * Exit 0: every promise in the report was kept; 1: one wasn't, or something broke.
 */

const MODEL = 'late-flight'
const DAY_MS = 86_400_000
/** Flights are asked about from here on; four weeks have landed before. */
const FROM_MS = Date.UTC(2001, 0, 29)
const UNTIL_MS = Date.UTC(2001, 6, 1)
const WEEKS_BEFORE = 4
const PER_DAY = 200
const PER_MONDAY = 2_200
const CONNECTIONS = 8
const DEFAULT_PORT = 8700

const PROJECT_FILES = ['millrace.config.ts', 'features.sql', 'land-data.ts', 'weeks.ts', 'train']

interface Place {
  projectDir: string
  dataDir: string
  weeksDir: string
  logPath: string
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { report: { type: 'string' }, port: { type: 'string' } } })
  const started = { atMs: Date.now(), monotonicMs: performance.now() }
  const view = new View(process.stdout)
  view.print(introduction())
  const asked = listenForSignals()
  const place = await freshProject()
  const reading = readFlights()
  reading.catch(() => {}) // if it fails, the await below throws it; not before Millrace can be stopped
  const millrace = await startMillrace(place, values.port, view)
  try {
    const days = await reading
    const report = await Promise.race([replayAndReport({ millrace, days, place, view, started }), asked])
    if (report === undefined) return
    const path = resolve(values.report ?? 'demo-report.json')
    await writeFile(path, `${JSON.stringify(report, null, 2)}\n`)
    view.end()
    view.print(summarise(report, relative('.', path)))
    process.exitCode = report.passed ? 0 : 1
    if (process.stdin.isTTY && process.stdout.isTTY) await keepServing(millrace, days, view, asked)
  } finally {
    view.end()
    await millrace.stop()
  }
}

interface Parts {
  millrace: Millrace
  days: Day[]
  place: Place
  view: View
  started: { atMs: number; monotonicMs: number }
}

async function replayAndReport({ millrace, days, place, view, started }: Parts): Promise<DemoReport> {
  const ledger = new Ledger()
  const gateway = new GatewayClient(millrace.gatewayUrl, MODEL, CONNECTIONS)
  const { weeksDir } = place
  const replay = new Replay({ millrace, gateway, ledger, view, model: MODEL, weeksDir, days, perDay: PER_DAY })
  await replay.trainFirst(FROM_MS)
  const replayed = await replay.days()
  gateway.close()
  view.tell(UNTIL_MS, 'The last label is sent. Comparing what was answered with what is in the lake.')
  await untilInLake(millrace, ledger.labelsSent)
  return makeReport({ millrace, days, view, started, place }, ledger, replayed)
}

async function makeReport(parts: Parts, ledger: Ledger, replayed: Replayed): Promise<DemoReport> {
  const { millrace, days, started } = parts
  const lake = await readLake(millrace, MODEL)
  const versions = await millrace.versions(MODEL)
  const runs = await millrace.runs(MODEL)
  const first = versions.find(({ liveSinceMs, release }) => liveSinceMs !== null || release === 'retired')
  if (first === undefined) throw new DemoError('No version was ever released.')
  const features = lake.map((row) => row.features)
  return buildReport({
    startedAtMs: started.atMs,
    durationMs: performance.now() - started.monotonicMs,
    machine: { node: process.version, platform: `${process.platform}-${process.arch}`, cpus: availableParallelism() },
    calendar: { fromMs: days[0]!.startMs, untilMs: days.at(-1)!.startMs, days: days.length, holds: replayed.holds },
    weeksLanded: WEEKS_BEFORE + replayed.weeksLanded,
    versions: await Promise.all(
      versions.map(async (version) => ({
        version,
        gate: await millrace.gate(version.ref),
        run: runs.find(({ outcome }) => outcome.version === version.ref) ?? null,
      })),
    ),
    releases: await millrace.releases(MODEL),
    requests: {
      sent: ledger.sent,
      answered: ledger.acknowledged.length,
      failed: ledger.failed,
      interrupted: ledger.interrupted,
      sentWhileHeld: ledger.sentWhileHeld,
    },
    faults: ledger.faults,
    labels: { sent: ledger.labelsSent, accepted: ledger.labelsAccepted },
    acknowledged: ledger.acknowledged,
    lake,
    frozen: { version: first.ref, probabilities: await scoreWith(await millrace.modelFile(first.ref), features) },
  })
}

/** What a user of Millrace would have in a folder, with the weeks of data that are there at the beginning. */
async function freshProject(): Promise<Place> {
  const home = join(import.meta.dirname, '.millrace-demo')
  const projectDir = join(home, 'flights')
  const dataDir = join(projectDir, '.millrace')
  if (existsSync(dataDir) && (await Millrace.runsOn(dataDir))) {
    throw new DemoError(
      `An earlier demo still runs on ${dataDir}: end it with Ctrl-C, or 'millrace down --data-dir ${dataDir}'.`,
    )
  }
  await rm(home, { recursive: true, force: true })
  const isForUsers = (source: string) => !source.endsWith('.test.ts')
  for (const name of PROJECT_FILES) {
    await cp(join(import.meta.dirname, name), join(projectDir, name), { recursive: true, filter: isForUsers })
  }
  const weeksDir = join(projectDir, 'data', 'weeks')
  await mkdir(weeksDir, { recursive: true })
  for (let week = WEEKS_BEFORE; week > 0; week--) await landWeek(weekName(FROM_MS - 7 * week * DAY_MS), weeksDir)
  return { projectDir, dataDir, weeksDir, logPath: join(home, 'up.log') }
}

async function startMillrace(place: Place, wanted: string | undefined, view: View): Promise<Millrace> {
  const port = wanted === undefined ? await freePort() : Number(wanted)
  const startedMs = performance.now()
  const millrace = await Millrace.start({ ...place, port, calendarMs: FROM_MS })
  const seconds = (performance.now() - startedMs) / 1000
  view.print(
    `Millrace is up after ${seconds.toFixed(1)} s (the first start makes its database). Its log: ${relative('.', place.logPath)}\n`,
  )
  return millrace
}

function readFlights(): Promise<Day[]> {
  return readDays({ source: vegaFlights(), fromMs: FROM_MS, untilMs: UNTIL_MS, perDay: PER_DAY, perMonday: PER_MONDAY })
}

/** The usual port, or any that is free. */
async function freePort(): Promise<number> {
  for (const port of [DEFAULT_PORT, 0]) {
    const server = createServer()
    const listening = await new Promise<boolean>((answer) => {
      server.once('error', () => answer(false)).listen(port, '127.0.0.1', () => answer(true))
    })
    if (!listening) continue
    const { port: found } = server.address() as { port: number }
    server.close()
    await once(server, 'close')
    return found
  }
  throw new DemoError('No free port was found on 127.0.0.1.')
}

/** The first Ctrl-C or SIGTERM ends the demo in good order; what was under way fails then, and nobody needs to know. */
function listenForSignals(): Promise<void> {
  return new Promise((resolveAsked) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        stopAsked = true
        resolveAsked()
      })
    }
  })
}

async function keepServing(millrace: Millrace, days: Day[], view: View, asked: Promise<void>): Promise<void> {
  const body = inferBody(days.at(-1)!.flights[0]!.features)
  const url = `${millrace.gatewayUrl}/v2/models/${MODEL}/infer`
  view.print(`\nMillrace goes on serving until Ctrl-C. Ask it about a flight:\n\n  curl -s ${url} -d '${body}'\n`)
  await asked
  view.print('\nStopping Millrace.')
}

function introduction(): string {
  return [
    'Millrace demo: US flights of January to June 2001, replayed day by day.',
    'The question, asked when a flight leaves: will it arrive more than 15 minutes late? About one in five does.',
    'Each week the flights of that week arrive as new data. Every second week Millrace trains on the last weeks by itself,',
    'measures the result on the newest week, compares it with the version that serves, and releases it if it is better.',
    '',
  ].join('\n')
}

let stopAsked = false

await main().catch((error: unknown) => {
  if (stopAsked) return
  if (!(error instanceof DemoError)) throw error
  console.error(`\n${error.message}`)
  process.exitCode = 1
})
if (stopAsked) process.exit(process.exitCode ?? 130)
