import type { Command } from 'commander'

import type { EndpointView } from '../../api/endpoint-schemas.ts'
import type { Cli } from '../cli.ts'
import { NoSuchEndpointError } from '../errors.ts'
import { number } from '../text.ts'

export function defineEndpoints(program: Command, cli: Cli): void {
  program
    .command('endpoints [name]')
    .description('what clients can call: who answers, who joins, and who could not')
    .addHelpText('after', EXAMPLES)
    .action(async (name: string | undefined) => {
      const { api } = await cli.connect()
      const all = await api.endpoints.list()
      const shown = name === undefined ? all : all.filter((endpoint) => endpoint.name === name)
      if (name !== undefined && shown.length === 0)
        throw new NoSuchEndpointError(
          name,
          all.map((endpoint) => endpoint.name),
        )
      if (cli.json) return cli.document(shown)
      showEndpoints(cli, shown)
    })
}

interface Row {
  endpoint: EndpointView
  version: string
  part: string
  replicas: string
  progress: string
}

function showEndpoints(cli: Cli, endpoints: EndpointView[]): void {
  cli.table(
    endpoints.flatMap(rowsOf),
    [
      { title: 'endpoint', value: ({ endpoint }) => endpoint.name },
      { title: 'state', value: ({ endpoint }) => endpoint.state, style: (text) => cli.status(text) },
      { title: 'answers by', value: ({ endpoint: { gather } }) => (gather === null ? 'one version' : gather.combine) },
      { title: 'version', value: ({ version }) => version },
      { title: 'part', value: ({ part }) => part, style: (text) => cli.status(text) },
      { title: 'replicas', value: ({ replicas }) => replicas, align: 'right' },
      { title: 'copies', value: ({ progress }) => progress, mayGoUnder: true },
    ],
    'no endpoints',
  )
  for (const { name, why } of endpoints) if (why !== null) cli.line(`${name}: ${why}`)
  for (const { name, gather } of endpoints)
    for (const { version, state, why } of gather?.members ?? [])
      if (state === 'refused') cli.line(`${name}: ${version} could not join: ${why}`)
}

function rowsOf(endpoint: EndpointView): Row[] {
  const replicas = (version: string): string => {
    const member = endpoint.members.find((m) => m.version === version)
    return member === undefined ? '–' : `${member.replicasReady}/${member.replicasWanted}`
  }
  if (endpoint.gather !== null)
    return endpoint.gather.members.map(({ version, state, answered, failed, needed }) => ({
      endpoint,
      version,
      part: state,
      replicas: replicas(version),
      progress: state === 'member' ? '' : `${number(answered)} of ${number(needed)}, ${number(failed)} failed`,
    }))
  const none: Row = { endpoint, version: '–', part: '–', replicas: '–', progress: '' }
  if (endpoint.members.length === 0) return [none]
  return endpoint.members.map(({ version, weightPercent }) => ({
    ...none,
    version,
    part: weightPercent === 0 ? 'warm' : `${number(weightPercent)}%`,
    replicas: replicas(version),
  }))
}

const EXAMPLES = `
Examples:
  millrace endpoints
  millrace endpoints second-opinion
  millrace endpoints --json
`
