import type { Command } from 'commander'

import type { CanaryView } from '../../api/canary-schemas.ts'
import type { Cli } from '../cli.ts'
import { UsageError } from '../errors.ts'

interface CanaryOptions {
  promote?: boolean
  stop?: boolean
  why?: string
  watch?: boolean
}

const WATCH_MS = 1_000

export function defineCanary(program: Command, cli: Cli): void {
  program
    .command('canary [endpoint]')
    .description('what is tried under live traffic, with its evidence; or end it by hand')
    .option('--promote', 'give it all traffic now, whatever the evidence; needs --why')
    .option('--stop', 'give all traffic back to the champion; needs --why')
    .option('--why <text>', 'the reason, kept with the release')
    .option('--watch', 'show it again each second until it has ended')
    .addHelpText('after', EXAMPLES)
    .action(async (endpoint: string | undefined, options: CanaryOptions) => {
      const act = actOf(endpoint, options)
      const { api } = await cli.connect()
      if (act !== null) {
        const release = await api.canaries[act.kind]({ endpoint: act.endpoint, why: act.why, by: cli.by })
        const { followRelease } = await import('../follow-release.ts')
        await followRelease(cli, release, 0)
        return
      }
      const { showCanaries } = await import('../show-canary.ts')
      const read = async () => (endpoint === undefined ? api.canaries.list() : [await api.canaries.get({ endpoint })])
      if (options.watch !== true) return showCanaries(cli, await read(), endpoint !== undefined)
      const { patiently } = await import('../patience.ts')
      for (;;) {
        const views: CanaryView[] = await patiently(read)
        showCanaries(cli, views, endpoint !== undefined, true)
        if (!views.some((view) => view.running)) return
        await new Promise((resolve) => setTimeout(resolve, WATCH_MS))
        if (!cli.json) cli.line()
      }
    })
}

function actOf(
  endpoint: string | undefined,
  { promote = false, stop = false, why, watch = false }: CanaryOptions,
): { kind: 'promote' | 'stop'; endpoint: string; why: string } | null {
  if (!promote && !stop) {
    if (why === undefined) return null
    throw new UsageError('--why goes with --promote or --stop.', `'millrace canary --help' has examples.`)
  }
  if (promote && stop) throw new UsageError('--promote and --stop exclude each other.', 'Choose one.')
  if (watch) throw new UsageError('--watch only shows.', `Run 'millrace canary --watch' by itself.`)
  if (endpoint === undefined)
    throw new UsageError('Which endpoint?', `Name it; 'millrace canary' shows those with something under trial.`)
  if (why === undefined || why.trim() === '')
    throw new UsageError('A reason is needed.', `Add --why "…": it is kept with the release.`)
  return { kind: promote ? 'promote' : 'stop', endpoint, why }
}

const EXAMPLES = `
Examples:
  millrace canary
  millrace canary late-flight --watch
  millrace canary late-flight --json
  millrace canary late-flight --stop --why "complaints from the desk"
  millrace canary late-flight --promote --why "enough seen, traffic is low at night"
`
