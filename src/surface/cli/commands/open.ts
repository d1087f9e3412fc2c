import { spawn } from 'node:child_process'
import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineOpen(program: Command, cli: Cli): void {
  program
    .command('open')
    .description('open the API document in the browser, by a link that works once and for a minute')
    .option('--print', 'only print the link')
    .addHelpText('after', '\nExamples:\n  millrace open\n  millrace open --print\n')
    .action(async (options: { print?: boolean }) => {
      const plane = await cli.connect()
      const url = await plane.openLink()
      if (cli.json) return cli.document({ url })
      cli.line(url)
      if (options.print !== true && process.stdout.isTTY) openBrowser(url, cli)
    })
}

/** Best effort: the link is printed anyway. */
function openBrowser(url: string, cli: Cli): void {
  const command = process.platform === 'darwin' ? 'open' : 'xdg-open'
  const browser = spawn(command, [url], { stdio: 'ignore', detached: true })
  browser.once('error', (error) => cli.note(`no browser could be started (${error.message}): open the link by hand`))
  browser.unref()
}
