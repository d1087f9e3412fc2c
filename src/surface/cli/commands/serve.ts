import type { Command } from 'commander'

import { messageOf } from '../../../kernel/errors.ts'
import type { Isolate } from '../../../serving/model-server/decide-isolation.ts'
import type { ServedModels, ServeOptions } from '../../../serving/model-server/serve-models.ts'
import type { Cli } from '../cli.ts'
import { UsageError } from '../errors.ts'
import { parseDuration, parseInteger, parsePort, parseSize } from '../option-values.ts'

interface ServeFlags {
  port: string
  host: string
  grpcPort?: string
  socket?: string
  name?: string
  features?: string
  maxBatchRows?: string
  maxBody?: string
  isolate: string
  versions: string
  poll?: string
  tlsCertificate?: string
  tlsKey?: string
  tlsClientAuthorities?: string
}

export function defineServe(program: Command, cli: Cli): void {
  program
    .command('serve <path...>')
    .description('serve ONNX files, or a folder of models, with nothing else: no project, no gate, no log')
    .option('--port <port>', '0: any that is free', '8080')
    .option('--host <address>', 'who is not on this machine needs another than the default', '127.0.0.1')
    .option('--grpc-port <port>', 'gRPC on this port besides; 0: any that is free (default: none)')
    .option('--socket <path>', 'a unix socket besides the port')
    .option('--name <name>', "how clients call a single file (default: the file's name)")
    .option('--features <names>', 'column names of the single [N, K] input of a single file, comma-separated')
    .option('--max-batch-rows <rows>', 'rows computed in one run at most (default: 64)')
    .option('--max-body <size>', 'larger requests get 413: from 1kB to 1GiB (default: 64MiB)')
    .option('--isolate <when>', 'run models in processes of their own: auto (the heavy ones), always, never', 'auto')
    .option('--versions <number>', 'of a folder: the newest so many versions of each model', '1')
    .option('--poll <time>', 'of a folder: look for changes so often (default: when a client says load)')
    .option('--tls-certificate <file>', 'PEM; read anew when it changes')
    .option('--tls-key <file>', 'PEM')
    .option('--tls-client-authorities <file>', 'PEM; callers must show a certificate that these have signed')
    .addHelpText(
      'after',
      `
A folder of models holds MODEL/VERSION/model.onnx. Clients may load and unload its models over HTTP
(POST /v2/repository/models/MODEL/load); a load takes what is on disk then, and a failed one keeps what was there.

Examples:
  millrace serve model.onnx
  millrace serve model.onnx --port 9000 --name churn
  millrace serve models/ --versions 2 --poll 30s
`,
    )
    .action(async (paths: string[], flags: ServeFlags) => {
      const options = serveOptions(paths, flags, cli)
      const [{ serveModels }, { version }] = await Promise.all([
        import('../../../serving/model-server/serve-models.ts'),
        import('../../../version.ts'),
      ])
      const served = await serveModels({ ...options, serverVersion: version })
      announce(served, options, cli)
      await interrupted()
      const { abandoned } = await served.close()
      if (abandoned > 0) cli.warn(`${abandoned} requests were cut off: they took longer than the time to drain`)
    })
}

function serveOptions(paths: string[], flags: ServeFlags, cli: Cli): ServeOptions {
  const tls = tlsOf(flags)
  return {
    paths,
    port: parsePort('--port', flags.port),
    host: flags.host,
    socket: flags.socket,
    name: flags.name,
    features: flags.features?.split(',').map((name) => name.trim()) ?? null,
    isolate: isolateOf(flags.isolate),
    versions: parseInteger('--versions', flags.versions, { min: 1, max: 1_000 }),
    pollMs: flags.poll === undefined ? null : parseDuration('--poll', flags.poll),
    ...(flags.maxBatchRows === undefined
      ? {}
      : { maxBatchRows: parseInteger('--max-batch-rows', flags.maxBatchRows, { min: 1, max: 1_048_576 }) }),
    ...(flags.maxBody === undefined
      ? {}
      : { bodyLimitBytes: parseSize('--max-body', flags.maxBody, { min: '1kB', max: '1GiB' }) }),
    ...(flags.grpcPort === undefined ? {} : { grpcPort: parsePort('--grpc-port', flags.grpcPort) }),
    ...(tls === null ? {} : { tls }),
    tell: (level, message, facts) => {
      if (level !== 'info')
        cli.warn(
          `${message}: ${Object.values(facts ?? {})
            .map(messageOf)
            .join(', ')}`,
        )
    },
  }
}

function isolateOf(text: string): Isolate {
  if (text === 'auto' || text === 'always' || text === 'never') return text
  throw new UsageError(`--isolate must be auto, always or never, not '${text}'.`, 'Write for example --isolate always.')
}

function tlsOf({ tlsCertificate, tlsKey, tlsClientAuthorities }: ServeFlags): ServeOptions['tls'] | null {
  if (tlsCertificate === undefined && tlsKey === undefined && tlsClientAuthorities === undefined) return null
  if (tlsCertificate === undefined || tlsKey === undefined)
    throw new UsageError(
      'TLS needs a certificate and its key.',
      'Write for example --tls-certificate server.crt --tls-key server.key.',
    )
  const clientAuthorities = tlsClientAuthorities === undefined ? {} : { clientAuthorities: tlsClientAuthorities }
  return { certificate: tlsCertificate, key: tlsKey, ...clientAuthorities }
}

function announce({ port, grpcPort, models }: ServedModels, { host = '', tls, paths }: ServeOptions, cli: Cli): void {
  const base = `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  const urlOf = (name: string): string => `${base}/v2/models/${encodeURIComponent(name)}`
  const [first] = models
  if (cli.json) {
    const all = models.map(({ name, version, isolated }) => ({ name, version, isolated, url: urlOf(name) }))
    cli.record({
      url: first === undefined ? base : urlOf(first.name),
      port,
      grpcPort,
      name: first?.name ?? null,
      models: all,
    })
    return
  }
  cli.line(`${cli.style('green', 'serving')} ${paths.join(' ')} at ${base}`)
  for (const { name, version, isolated } of models)
    cli.line(`  ${urlOf(name)}  version ${version}${isolated ? ', in a process of its own' : ''}`)
  if (grpcPort !== null) cli.line(`  gRPC at ${host}:${grpcPort}`)
  if (first === undefined)
    return cli.text(
      '  no models there yet: it takes MODEL/VERSION/model.onnx, when a client says load or at each --poll',
    )
  cli.line(`  curl ${urlOf(first.name)}          what goes in and what comes out`)
  cli.line(`  curl ${urlOf(first.name)}/infer -d '{"inputs": [...]}'`)
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}
