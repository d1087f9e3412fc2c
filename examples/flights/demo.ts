import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { collect, keepFirstVersion, type FirstVersion } from './demo/collect.ts'
import { faultNames, withWrongRequests, type FaultName } from './demo/faults.ts'
import { GatewayClient, inferBody } from './demo/gateway-client.ts'
import { Ledger } from './demo/ledger.ts'
import { DemoError, Millrace } from './demo/millrace-client.ts'
import { readDays, type Day } from './demo/online-features.ts'
import { copyProject, editProject, placeOf, type Place } from './demo/project-copy.ts'
import { Replay, type ReplayParts } from './demo/replay.ts'
import { buildReport } from './demo/report.ts'
import type { DemoReport } from './demo/report-schema.ts'
import { FLIGHTS_READY, scenarioOf, type Scenario } from './demo/scenario.ts'
import { summarise } from './demo/summary.ts'
import { TrialBook } from './demo/trial-book.ts'
import { View } from './demo/view.ts'
import { Watch } from './demo/watch.ts'
import { vegaFlights } from './land-data.ts'

/**
 * The flights example, replayed: twelve weeks of 2001 in about two minutes. `npm run demo`, or
 *
 *   node examples/flights/demo.ts [--fault NAME] [--report demo-report.json] [--port 8700]
 *
 * With `--fault` ten days with something wrong in them (demo/faults.ts): leakage, codes, utc, kilometres or outage.
 * Exit 0: every promise in the report was kept; 1: one wasn't, or something broke.
 */

const MODEL = 'late-flight'
const CONNECTIONS = 8
const DEFAULT_PORT = 8700
const HOME = join(import.meta.dirname, '.millrace-demo')

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { fault: { type: 'string' }, report: { type: 'string' }, port: { type: 'string' } },
  })
  const scenario = scenarioOf(faultNamed(values.fault))
  const started = { atMs: Date.now(), monotonicMs: performance.now() }
  const view = new View(process.stdout)
  view.print(introduction(scenario))
  const asked = listenForSignals()
  await refuseIfRunning()
  const { fromMs, weeksBefore, fault } = scenario
  const place = await copyProject(HOME, { beforeMs: fromMs, count: weeksBefore }, fault?.is.setUp ?? [])
  const reading = readFlights(scenario)
  reading.catch(() => {}) // if it fails, the await below throws it; not before Millrace can be stopped
  const millrace = await startMillrace(place, scenario, values.port, view)
  try {
    const days = await reading
    const report = await Promise.race([replayAndReport({ millrace, days, place, view, started, scenario }), asked])
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
  scenario: Scenario
}

async function replayAndReport({ millrace, days, place, view, started, scenario }: Parts): Promise<DemoReport> {
  const ledger = new Ledger()
  const gateway = new GatewayClient(millrace.gatewayUrl, MODEL, CONNECTIONS)
  const trials = new TrialBook()
  const watch = new Watch({ millrace, trials, view, model: MODEL })
  const fault = faultOf(scenario, place, millrace)
  const { weeksDir } = place
  let first: FirstVersion | null = null
  const onFirst = async () => {
    first = await keepFirstVersion(millrace, MODEL, HOME)
  }
  const parts = { millrace, gateway, ledger, watch, view, model: MODEL, weeksDir, days, scenario, onFirst, fault }
  const replayed = await new Replay(parts).days()
  gateway.close()
  view.tell(scenario.untilMs, 'The last label is sent. Comparing what was answered with what is in the lake.')
  return buildReport(
    await collect({ millrace, model: MODEL, scenario, days, ledger, replayed, trials, first: first!, started }),
  )
}

/** A developer commits, or an application goes wrong: Millrace sees new code, or requests. */
function faultOf({ fault }: Scenario, place: Place, millrace: Millrace): ReplayParts['fault'] {
  if (fault === null) return null
  const { commit, title, labels } = fault.is
  const begin = async () => {
    if (commit.length > 0) {
      await editProject(place, commit)
      await millrace.apply()
      await millrace.train(MODEL, 'new training code')
    }
    return title
  }
  return { onsetMs: fault.onsetMs, begin, labels }
}

function faultNamed(name: string | undefined): FaultName | null {
  if (name === undefined) return null
  const found = faultNames.find((one) => one === name)
  if (found === undefined) throw new DemoError(`There is no fault '${name}'; there are: ${faultNames.join(', ')}.`)
  return found
}

async function refuseIfRunning(): Promise<void> {
  const { dataDir } = placeOf(HOME)
  if (!existsSync(dataDir) || !(await Millrace.runsOn(dataDir))) return
  throw new DemoError(
    `An earlier demo still runs on ${dataDir}: end it with Ctrl-C, or 'millrace down --data-dir ${dataDir}'.`,
  )
}

async function startMillrace(
  place: Place,
  { fromMs }: Scenario,
  wanted: string | undefined,
  view: View,
): Promise<Millrace> {
  const port = wanted === undefined ? await freePort() : Number(wanted)
  const startedMs = performance.now()
  const millrace = await Millrace.start({ ...place, port, calendarMs: fromMs })
  const seconds = (performance.now() - startedMs) / 1000
  view.print(
    `Millrace is up after ${seconds.toFixed(1)} s (the first start makes its database). Its log: ${relative('.', place.logPath)}\n`,
  )
  return millrace
}

async function readFlights({ fromMs, untilMs, fault }: Scenario): Promise<Day[]> {
  const days = await readDays({ source: vegaFlights(), fromMs, untilMs, perDay: FLIGHTS_READY })
  return fault === null ? days : withWrongRequests(days, fault.is, fault.onsetMs)
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

function introduction({ fault }: Scenario): string {
  const lines = [
    'Millrace demo: US flights of 2001, replayed day by day.',
    'The question, asked when a flight leaves: will it arrive more than 15 minutes late? About one in five does.',
  ]
  const loop = [
    'Each Monday the week before lands as new data. Millrace trains each month by the clock, and in between when its',
    'answers change or get worse. It measures each version on the newest week and compares it with the one that serves.',
    'A better one first answers copies of the live requests, then half of them, and takes over if it does no harm.',
    'Old ones are retired.',
  ]
  const wrong = ['Ten days in March. From the third or fourth on something is wrong, which Millrace is not told.']
  return [...lines, ...(fault === null ? loop : wrong), ''].join('\n')
}

let stopAsked = false

await main().catch((error: unknown) => {
  if (stopAsked) return
  if (!(error instanceof DemoError)) throw error
  console.error(`\n${error.message}`)
  process.exitCode = 1
})
if (stopAsked) process.exit(process.exitCode ?? 130)
