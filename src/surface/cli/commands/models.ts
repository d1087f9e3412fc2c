import type { Command } from 'commander'

import type { ModelSummary, ModelView } from '../../api/model-schemas.ts'
import type { VersionSummary, VersionView } from '../../api/version-schemas.ts'
import type { Cli } from '../cli.ts'
import { inOrder } from '../metric-order.ts'
import { showGate } from '../show-gate.ts'
import { parseInteger, parseTime } from '../option-values.ts'
import { ago, bytes, figures, number, plainText, time } from '../text.ts'

export function defineModels(program: Command, cli: Cli): void {
  const models = program
    .command('models')
    .description('list models and versions, show one, or say what was live at a time')
    .addHelpText('after', EXAMPLES)
  models
    .command('list', { isDefault: true })
    .description('every model, its champion, and what keeps it from releasing by itself')
    .action(async () => {
      const { api } = await cli.connect()
      const list = await api.models.list()
      if (cli.json) return cli.document(list)
      showModels(cli, list)
    })
  models
    .command('show <ref>')
    .description('one model (late-flight) or one version (late-flight@7, late-flight@champion)')
    .option('--limit <number>', 'at most so many versions of a model', '20')
    .action(async (ref: string, options: { limit: string }) => {
      const { api } = await cli.connect()
      const limit = parseInteger('--limit', options.limit, { min: 1, max: 1_000 })
      if (ref.includes('@')) {
        const version = await api.versions.get({ ref })
        return cli.json ? cli.document(version) : showVersion(cli, version)
      }
      const [model, versions] = await Promise.all([
        api.models.get({ model: ref }),
        api.versions.list({ model: ref, limit }),
      ])
      if (cli.json) return cli.document({ ...model, recent: versions })
      showModel(cli, model, versions)
    })
  models
    .command('live <model>')
    .description('which version was live at a time (calendar)')
    .option('--at <time>', 'ISO 8601 (default: now, by the calendar)')
    .action(async (model: string, options: { at?: string }) => {
      const { api } = await cli.connect()
      const atMs = options.at === undefined ? (await api.clock.get()).calendarMs : parseTime('--at', options.at)
      const span = await api.versions.liveAt({ model, atMs })
      if (cli.json) return cli.document({ model, atMs, ...span })
      if (span.version === null) return cli.line(`no version of ${model} was live at ${time(atMs)}`)
      const until = span.untilMs === null ? 'and still is' : `until ${time(span.untilMs)}`
      cli.line(`${span.version}  live from ${time(span.fromMs)} ${until}${span.why === null ? '' : `: ${span.why}`}`)
    })
}

function showModels(cli: Cli, list: ModelSummary[]): void {
  cli.table(
    list,
    [
      { title: 'model', value: (m) => m.name },
      { title: 'endpoint', value: (m) => m.endpoint, spare: true },
      { title: 'champion', value: (m) => m.champion ?? '–' },
      { title: 'versions', value: (m) => number(m.versions), align: 'right' },
      { title: 'newest', value: (m) => (m.newest === null ? '–' : `${m.newest.ref} ${m.newest.standing}`) },
      { title: 'automation', value: automation },
    ],
    'no models: declare one and run millrace apply',
  )
  for (const model of list) showBlockers(cli, model)
}

function automation(model: ModelSummary): string {
  if (model.paused) return 'paused'
  const whats = model.blockers.map((b) => b.what)
  const needs = whats.filter((what) => what !== 'frozen')
  if (needs.length > 0) return `needs ${needs.join(', ')}`
  return whats.length > 0 ? 'frozen' : 'on'
}

function showBlockers(cli: Cli, model: ModelSummary): void {
  for (const blocker of model.blockers) {
    cli.text(
      `${cli.style('yellow', `${model.name}:`)} ${blocker.why}${blocker.fix === null ? '' : ` ${cli.style('cyan', blocker.fix)}`}`,
    )
  }
}

function showModel(cli: Cli, model: ModelView, versions: VersionSummary[]): void {
  cli.line(
    `${cli.style('bold', model.name)}  endpoint ${model.endpoint}  ${model.task ?? 'no task declared'}  importance ${model.importance}`,
  )
  const aliases = model.aliases.map((a) => `${a.alias} → ${a.version} since ${time(a.sinceMs)}`)
  for (const alias of aliases) cli.line(alias)
  showBlockers(cli, model)
  const nowMs = Date.now()
  cli.table(
    versions,
    [
      { title: 'version', value: (v) => v.ref },
      { title: 'status', value: (v) => v.standing, style: (text) => cli.status(text) },
      { title: 'release', value: (v) => v.release, style: (text) => cli.status(text) },
      {
        title: 'retirement',
        value: (v) => v.retirement?.status ?? 'kept',
        style: (text) => cli.status(text),
        spare: true,
      },
      { title: 'aliases', value: (v) => v.aliases.join(', ') },
      { title: 'made', value: (v) => ago(v.createdAtMs, nowMs), spare: true },
      { title: 'metrics', value: (v) => (v.metrics === null ? '–' : figures(inOrder(v.metrics))), mayGoUnder: true },
      { title: 'why', value: (v) => v.releaseWhy ?? v.why ?? '', mayGoUnder: true },
    ],
    'no versions yet',
  )
}

function showVersion(cli: Cli, version: VersionView): void {
  const aliases = version.aliases.length === 0 ? '' : `  (${version.aliases.join(', ')})`
  cli.line(
    `${cli.style('bold', version.ref)}${aliases}  ${cli.status(version.standing)}  ${cli.status(version.release)}`,
  )
  const why = version.releaseWhy ?? (version.gate === null ? version.why : null)
  if (why !== null) cli.text(withoutVerdict(plainText(why), version.gate?.why))
  if (version.retirement !== null)
    cli.text(`retirement: ${cli.status(version.retirement.status)}: ${plainText(version.retirement.why)}`)
  const live = version.liveSinceMs === null ? '' : `, live since ${time(version.liveSinceMs)}`
  cli.line(`made ${time(version.createdAtMs)}${live}`)
  if (version.gate !== null) showGate(cli, version.gate)
  showReported(cli, version)
  showLineage(cli, version)
  const tensor = (t: { name: string; datatype: string; shape: number[]; columns: string[] | null }) =>
    `${t.name} ${t.datatype}[${t.shape.join(', ')}]${t.columns === null ? '' : ` (${t.columns.join(', ')})`}`
  if (version.signature !== null) {
    cli.text(`inputs   ${version.signature.inputs.map(tensor).join('; ')}`)
    if (version.signature.enriched !== undefined)
      cli.text(`asked    ${version.signature.enriched.asked.map(tensor).join('; ')}`)
    if (version.signature.prepared !== undefined)
      cli.text(`fed      ${version.signature.prepared.fed.map(tensor).join('; ')}`)
    cli.text(`outputs  ${version.signature.outputs.map(tensor).join('; ')}`)
  }
  for (const { name, sizeBytes, digest } of version.artifacts.slice(0, SHOWN_MAX))
    cli.line(`artifact ${plainText(name)}  ${sizeBytes === null ? '' : `${bytes(sizeBytes)}  `}${digest}`)
  if (version.artifacts.length > SHOWN_MAX)
    cli.line(`artifact and ${version.artifacts.length - SHOWN_MAX} more: --json has them`)
  const { deployment } = version
  if (deployment !== null) {
    const ready = `${deployment.replicasReady} of ${deployment.replicasWanted} replicas ready`
    cli.line(
      `${deployment.id}  ${cli.status(deployment.status)}  ${ready}, ${number(deployment.weightPercent)}% of the traffic`,
    )
  }
}

/** Artifacts, and numbers of the trainer's own; JSON has all. */
const SHOWN_MAX = 20

/** The verdict's own words, which a reason may end with, follow below. */
const withoutVerdict = (why: string, verdict: string | undefined): string =>
  verdict !== undefined && why.endsWith(`: ${verdict}`) ? why.slice(0, -verdict.length - 2) : why

function showReported(cli: Cli, { reportedMetrics }: VersionView): void {
  const said = Object.entries(reportedMetrics ?? {})
  if (said.length === 0) return
  const more = said.length > SHOWN_MAX ? `, and ${said.length - SHOWN_MAX} more: --json has them` : ''
  cli.text(`trainer  ${figures(Object.fromEntries(said.slice(0, SHOWN_MAX)))}${more}`)
}

function showLineage(cli: Cli, { lineage }: VersionView): void {
  const origin = lineage.run ?? (lineage.importedFrom === null ? '–' : `import of ${lineage.importedFrom}`)
  cli.line(
    `from     ${origin}, revision ${lineage.revision ?? '–'}, as of ${time(lineage.asOfMs)}, seed ${lineage.seed ?? '–'}`,
  )
  if (Object.keys(lineage.params).length > 0) cli.text(`params   ${figures(lineage.params)}`)
  if (lineage.codeDigest !== null) cli.line(`code     ${lineage.codeDigest}`)
  if (lineage.server !== undefined) cli.line(`server   ${lineage.server.command}`)
  if (lineage.prepare !== undefined) cli.line(`prepare  ${lineage.prepare.command}`)
  for (const { table, key, columns } of lineage.tables ?? [])
    cli.line(
      `table    ${table}: ${columns.join(', ')} by ${'column' in key ? key.column : `parameter ${key.parameter}`}`,
    )
  for (const note of lineage.registration?.notes ?? []) cli.text(`model    ${plainText(note)}`)
  for (const input of lineage.inputs) cli.line(`input    ${input.step}.${input.name}  ${input.digest}`)
  for (const env of lineage.environments) {
    cli.line(`environ  ${env.step}: ${env.environment}${env.reproducible ? '' : ' (not reproducible)'}`)
  }
}

const EXAMPLES = `
Examples:
  millrace models
  millrace models show late-flight
  millrace models show late-flight@champion --json
  millrace models live late-flight --at 2001-03-01T06:00:00Z
`
