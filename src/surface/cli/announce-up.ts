import { setTimeout as sleep } from 'node:timers/promises'

import type { EndpointView } from '../api/endpoint-schemas.ts'
import { connectControlPlane, type ControlApi } from '../client/control-plane.ts'
import { version } from '../../version.ts'
import type { Plan } from './children-of.ts'
import type { Cli } from './cli.ts'
import { curlOf } from './curl-of.ts'
import { grpcAddress } from './grpc-address.ts'
import { patiently } from './patience.ts'

/** Replicas of what was live before need a moment; what is not there by then is told as it is. */
const SERVING_MS = 30_000
const LOOK_MS = 150

/**
 * Says that it is up, what can be called, and how. A control plane that was adopted is given the configuration first.
 */
export async function announceUp(cli: Cli, plan: Plan, adopted: boolean, signal: AbortSignal): Promise<void> {
  const { api } = connectControlPlane({ dataDir: plan.dataDir })
  const { project, source, sourcePath } = plan.loaded
  if (adopted && !plan.applied) {
    await api.project.apply({ source, sourcePath, project, by: plan.by })
    plan.applied = true
  }
  const endpoints = await whenServing(api, signal)
  const port = endpoints.find((e) => e.port !== null)?.port ?? null
  if (port !== null && plan.port === 0) plan.port = port
  const status = await patiently(() => api.status.get())
  if (cli.json) {
    cli.record({
      type: 'up',
      version,
      dataDir: plan.dataDir,
      revision: status.project?.revision ?? null,
      apiUrl: status.controlPlane.apiUrl,
      endpoints,
    })
    return
  }
  cli.line(
    `${cli.style('green', `Millrace ${version} is up`)}  project ${project.name}, revision ${status.project?.revision ?? '–'}`,
  )
  for (const endpoint of endpoints) await announceEndpoint(cli, api, endpoint)
  const grpc = grpcAddress(endpoints)
  if (grpc !== null) cli.line(`gRPC  ${grpc}`)
  if (status.controlPlane.apiUrl !== null) cli.line(`control API ${status.controlPlane.apiUrl}  (millrace open)`)
  for (const warning of status.warnings)
    cli.line(`${cli.style('yellow', 'warning')}  ${warning.text}${warning.fix === null ? '' : ` ${warning.fix}`}`)
  cli.line(cli.style('dim', 'Ctrl-C stops everything'))
}

/** An endpoint with something to call gets a curl line, any other what to do first. */
export async function announceEndpoint(cli: Cli, api: ControlApi, endpoint: EndpointView): Promise<void> {
  cli.line(`${cli.style('bold', endpoint.name)}  ${endpoint.url ?? 'no address yet'}  ${cli.status(endpoint.state)}`)
  const live = endpoint.members.find((m) => m.weightPercent > 0)
  if (live === undefined) return announceFirst(cli, api, endpoint)
  const { signature } = await api.versions.get({ ref: live.version })
  if (signature !== null && endpoint.url !== null) cli.line(`  ${curlOf(endpoint.url, signature)}`)
}

/** Nothing was released to it: what trains the first version. */
async function announceFirst(cli: Cli, api: ControlApi, { gather, model }: EndpointView): Promise<void> {
  if (gather !== null) return
  const waiting = (await api.triggers.list({ model })).filter((t) => t.kind === 'newData' && t.lastFiredAtMs === null)
  if (waiting.length > 0)
    cli.line(`  trains by itself once there are data: ${waiting.map((t) => t.declared).join(', ')}`)
  cli.line(`  millrace train ${model}   trains it now`)
}

async function whenServing(api: ControlApi, signal: AbortSignal): Promise<EndpointView[]> {
  const endsAtMs = performance.now() + SERVING_MS
  for (;;) {
    const endpoints = await patiently(() => api.endpoints.list())
    if (endpoints.every(canBeCalled) || signal.aborted || performance.now() > endsAtMs) return endpoints
    await sleep(LOOK_MS)
  }
}

/** The gateway has told its port, and what was released to it answers. */
export function canBeCalled(endpoint: EndpointView): boolean {
  const nothingLive = endpoint.members.every((m) => m.weightPercent === 0)
  return endpoint.url !== null && (nothingLive || endpoint.state === 'serving' || endpoint.state === 'asleep')
}
