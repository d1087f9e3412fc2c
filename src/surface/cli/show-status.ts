import { setTimeout as sleep } from 'node:timers/promises'

import type { EndpointView } from '../api/endpoint-schemas.ts'
import type { ServiceLevel } from '../api/service-level-schemas.ts'
import type { StatusView } from '../api/status-schemas.ts'
import type { Cli } from './cli.ts'
import { alertLine } from './commands/alerts.ts'
import { showReconciliation } from './commands/lake.ts'
import { showReleases } from './commands/releases.ts'
import { showList } from './commands/runs.ts'
import { budgetLine } from './commands/slo.ts'
import { grpcAddress } from './grpc-address.ts'
import { patiently, PATIENCE_MS } from './patience.ts'
import type { Column } from './table.ts'
import { ago, bytes, duration, number, plainText, time } from './text.ts'

/** Until Ctrl-C. On a terminal the screen is drawn over; JSON gets one line each time. */
export async function watchStatus(cli: Cli, everyMs: number): Promise<never> {
  const { api } = await cli.connect(PATIENCE_MS)
  for (;;) {
    const status = await patiently(() => api.status.get())
    if (cli.json) cli.record(status)
    else {
      if (cli.interactive) process.stdout.write('\u001b[H\u001b[2J')
      showStatus(cli, status)
    }
    await sleep(everyMs)
  }
}

export function showStatus(cli: Cli, status: StatusView): void {
  showHead(cli, status)
  const firing = alertLine(cli, status.alerts)
  if (firing !== null) section(cli, 'Alerts', () => cli.text(firing))
  section(cli, 'Endpoints', () => showEndpoints(cli, status.endpoints))
  if (status.runs.length > 0) section(cli, 'Runs in progress', () => showList(cli, status.runs))
  if (status.releases.length > 0) section(cli, 'Releases in progress', () => showReleases(cli, status.releases))
  if (status.waiting.length > 0) section(cli, 'Waiting for a person', () => showWaiting(cli, status))
  section(cli, 'Triggers', () => showTriggers(cli, status))
  section(cli, 'Prediction log', () => showReconciliation(cli, status.reconciliation))
  section(cli, 'Service levels', () => {
    showServiceLevels(cli, status.serviceLevels)
    const line = budgetLine(cli, status.budgets)
    if (line !== null) cli.text(line)
  })
  section(cli, 'Processes', () => showProcesses(cli, status))
}

function section(cli: Cli, title: string, show: () => void): void {
  cli.line(`\n${cli.style('bold', title)}`)
  show()
}

function showHead(cli: Cli, { project, controlPlane, clock, disk, warnings }: StatusView): void {
  const name =
    project === null ? 'no project applied' : `${cli.style('bold', project.name)}  revision ${project.revision}`
  cli.line(
    `${name}  up ${duration(Math.max(0, clock.epochMs - controlPlane.startedAtMs))}  ${controlPlane.store}  ${controlPlane.dataDir}`,
  )
  if (clock.rehearsed) cli.line(`${cli.style('yellow', 'rehearsed')}  calendar ${time(clock.calendarMs)}`)
  for (const hold of clock.holds) cli.line(`calendar held by ${hold.by}: ${hold.why}`)
  const free = `${bytes(disk.freeBytes)} free`
  if (disk.low)
    cli.line(`${cli.style('red', 'disk low')}  ${free}, ${bytes(disk.minFreeBytes)} are needed: nothing new is started`)
  for (const warning of warnings)
    cli.text(
      `${cli.style('yellow', 'warning')}  ${warning.text}${warning.fix === null ? '' : ` ${cli.style('cyan', warning.fix)}`}`,
    )
}

/** All members of a gather get each request; those that join get copies. */
function partOf({ gather }: EndpointView, { version, weightPercent }: EndpointView['members'][number]): string {
  if (gather === null) return `${number(weightPercent)}%`
  return gather.members.find((member) => member.version === version)?.state ?? 'member'
}

function showEndpoints(cli: Cli, endpoints: EndpointView[]): void {
  const rows = endpoints.flatMap((endpoint) => {
    const members: (EndpointView['members'][number] | null)[] =
      endpoint.members.length === 0 ? [null] : endpoint.members
    return members.map((member, m) => ({ endpoint, member, isFirst: m === 0, isLast: m === members.length - 1 }))
  })
  cli.table(
    rows,
    [
      { title: 'endpoint', value: ({ endpoint }) => endpoint.name },
      { title: 'state', value: ({ endpoint }) => endpoint.state, style: (text) => cli.status(text) },
      { title: 'version', value: ({ member }) => member?.version ?? '–' },
      {
        title: 'traffic',
        value: ({ endpoint, member }) => (member === null ? '–' : partOf(endpoint, member)),
        align: 'right',
      },
      {
        title: 'replicas',
        value: ({ member }) => (member === null ? '–' : `${member.replicasReady}/${member.replicasWanted}`),
        align: 'right',
      },
      // These are of the endpoint, whoever answers.
      {
        title: 'requests',
        value: ({ endpoint, isFirst }) => (isFirst ? number(endpoint.requests) : ''),
        align: 'right',
      },
      { title: 'failed', value: ({ endpoint, isFirst }) => (isFirst ? number(endpoint.failed) : ''), align: 'right' },
      { title: 'url', value: ({ endpoint, isLast }) => (isLast ? (endpoint.url ?? '–') : ''), mayGoUnder: true },
    ],
    'no endpoints',
  )
  const grpc = grpcAddress(endpoints)
  if (grpc !== null) cli.line(`gRPC  ${grpc}`)
  for (const { name, why } of endpoints) if (why !== null) cli.text(`${name}: ${plainText(why)}`)
}

function showWaiting(cli: Cli, { waiting }: StatusView): void {
  for (const { version, why } of waiting)
    cli.text(`${version}  ${plainText(why)}  ${cli.style('cyan', `millrace gate show ${version}`)}`)
}

function showTriggers(cli: Cli, { triggers, clock }: StatusView): void {
  cli.table(
    triggers,
    [
      { title: 'model', value: (t) => t.model },
      { title: 'trigger', value: (t) => (t.id.startsWith(`${t.model}/`) ? t.id.slice(t.model.length + 1) : t.id) },
      { title: 'state', value: (t) => t.state, style: (text) => cli.status(text) },
      {
        title: 'last',
        value: (t) =>
          t.lastFiredAtMs === null
            ? 'never'
            : `${ago(t.lastFiredAtMs, clock.calendarMs)}${t.lastRun === null ? '' : ` (${t.lastRun})`}`,
      },
      { title: 'next', value: (t) => time(t.nextAtMs) },
      { title: 'why', value: (t) => t.why ?? '', mayGoUnder: true },
    ],
    'no triggers: runs are started by hand',
  )
}

function showServiceLevels(cli: Cli, levels: ServiceLevel[]): void {
  const columns: Column<ServiceLevel>[] = [
    { title: 'phase', value: (l) => l.phase },
    { title: 'indicator', value: (l) => l.indicator },
    { title: 'value', value: (l) => quantity(l.value, l.unit), align: 'right' },
    { title: 'of', value: (l) => number(l.count), align: 'right' },
    { title: 'window', value: (l) => (l.windowMs === 0 ? 'now' : duration(l.windowMs)), align: 'right' },
  ]
  cli.table(levels, columns, 'nothing measured yet')
}

function quantity(value: number | null, unit: ServiceLevel['unit']): string {
  if (value === null) return '–'
  switch (unit) {
    case 'ratio':
      return `${number(Number((value * 100).toFixed(3)))}%`
    case 'ms':
      return duration(value)
    case 'bytes':
      return bytes(value)
    case 'count':
      return number(value)
  }
}

function showProcesses(cli: Cli, { processes, replicas }: StatusView): void {
  const nowMs = Date.now()
  cli.table(
    processes,
    [
      { title: 'process', value: (p) => p.id },
      { title: 'kind', value: (p) => p.kind },
      { title: 'pid', value: (p) => String(p.pid ?? '–'), align: 'right' },
      { title: 'state', value: (p) => p.state, style: (text) => cli.status(text) },
      { title: 'started', value: (p) => ago(p.startedAtMs, nowMs) },
      { title: 'restarts', value: (p) => number(p.restarts), align: 'right' },
      { title: 'why', value: (p) => p.why ?? '', mayGoUnder: true },
    ],
    'no processes',
  )
  cli.table(
    replicas,
    [
      { title: 'replica', value: (r) => r.id },
      { title: 'version', value: (r) => r.version },
      { title: 'deployment', value: (r) => r.deployment },
      { title: 'pid', value: (r) => String(r.pid ?? '–'), align: 'right' },
      { title: 'state', value: (r) => r.state, style: (text) => cli.status(text) },
      { title: 'in flight', value: (r) => number(r.inFlight), align: 'right' },
      { title: 'why', value: (r) => r.why ?? '', mayGoUnder: true },
    ],
    'no replicas',
  )
}
