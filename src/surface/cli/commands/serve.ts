import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { parsePort } from '../option-values.ts'

interface ServeOptions {
  port: string
  host: string
  name?: string
  features?: string
}

export function defineServe(program: Command, cli: Cli): void {
  program
    .command('serve <file>')
    .description('serve one ONNX file over HTTP, with nothing else: no project, no gate, no log')
    .option('--port <port>', '0: any that is free', '8080')
    .option('--host <address>', 'who is not on this machine needs another than the default', '127.0.0.1')
    .option('--name <name>', "how clients call it (default: the file's name)")
    .option('--features <names>', 'column names of a single [N, K] input, comma-separated')
    .addHelpText(
      'after',
      '\nExamples:\n  millrace serve model.onnx\n  millrace serve model.onnx --port 9000 --name churn\n',
    )
    .action(async (file: string, options: ServeOptions) => {
      const port = parsePort('--port', options.port)
      const [{ serveFile }, { version }] = await Promise.all([
        import('../../../serving/model-server/serve-file.ts'),
        import('../../../version.ts'),
      ])
      const features = options.features?.split(',').map((name) => name.trim()) ?? null
      const served = await serveFile({
        path: file,
        port,
        host: options.host,
        name: options.name,
        features,
        serverVersion: version,
      })
      const host = options.host.includes(':') ? `[${options.host}]` : options.host
      const url = `http://${host}:${served.port}/v2/models/${encodeURIComponent(served.name)}`
      if (cli.json) cli.record({ url, port: served.port, name: served.name })
      else {
        cli.line(`${cli.style('green', 'serving')} ${file} at ${url}`)
        cli.line(`  curl ${url}          what goes in and what comes out`)
        cli.line(`  curl ${url}/infer -d '{"inputs": [...]}'`)
      }
      await interrupted()
      await served.close()
    })
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}
