import type { Command } from 'commander'

import type { ReleaseView } from '../../api/release-schemas.ts'
import type { Cli } from '../cli.ts'
import { parseInteger } from '../option-values.ts'
import { ago, duration, plainText, time } from '../text.ts'

export function defineReleases(program: Command, cli: Cli): void {
  const releases = program.command('releases').description('list releases, or show one').addHelpText('after', EXAMPLES)
  releases
    .command('list [model]', { isDefault: true })
    .description('releases and rollbacks, newest first')
    .option('--limit <number>', 'at most so many', '20')
    .action(async (model: string | undefined, options: { limit: string }) => {
      const { api } = await cli.connect()
      const list = await api.releases.list({
        model,
        limit: parseInteger('--limit', options.limit, { min: 1, max: 1_000 }),
      })
      if (cli.json) return cli.document(list)
      showReleases(cli, list)
    })
  releases
    .command('show <id>')
    .description('one release: status, reason, steps with their times')
    .action(async (id: string) => {
      const { api } = await cli.connect()
      const release = await api.releases.get({ id })
      if (cli.json) return cli.document(release)
      showReleases(cli, [release])
      cli.line(`strategy ${release.strategy}, created ${time(release.createdAtMs)}`)
      cli.text(`wanted by: ${plainText(release.cause)}`)
      cli.table(
        release.steps,
        [
          { title: 'step', value: (s) => s.name },
          { title: 'status', value: (s) => s.status, style: (text) => cli.status(text) },
          { title: 'took', value: (s) => took(s.startedAtMs, s.endedAtMs), align: 'right' },
          { title: 'why', value: (s) => s.why ?? '', mayGoUnder: true },
        ],
        'no steps yet',
      )
    })
}

/** As `releases` and `status` print them. */
export function showReleases(cli: Cli, list: ReleaseView[]): void {
  const nowMs = Date.now()
  cli.table(
    list,
    [
      { title: 'release', value: (r) => r.id },
      { title: 'kind', value: (r) => r.kind },
      { title: 'version', value: (r) => r.version },
      { title: 'endpoint', value: (r) => r.endpoint, spare: true },
      { title: 'before', value: (r) => r.previous ?? '–', spare: true },
      { title: 'status', value: (r) => r.status, style: (text) => cli.status(text) },
      { title: 'created', value: (r) => ago(r.createdAtMs, nowMs) },
      {
        title: 'lead time',
        value: (r) => (r.leadTimeMs === null ? '–' : duration(r.leadTimeMs)),
        align: 'right',
        spare: true,
      },
      { title: 'why', value: (r) => r.why ?? r.cause, mayGoUnder: true },
    ],
    'no releases',
  )
}

const took = (startedAtMs: number | null, endedAtMs: number | null) =>
  startedAtMs === null || endedAtMs === null ? '–' : duration(endedAtMs - startedAtMs)

const EXAMPLES = `
Examples:
  millrace releases
  millrace releases list late-flight --json
  millrace releases show release-3
`
