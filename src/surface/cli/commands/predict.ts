import type { Command } from 'commander'

import type { InputSpec, Prediction, Row } from '../../client/predict.ts'
import type { GatewayAddress } from '../../client/gateway-http.ts'
import type { Cli } from '../cli.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import { UsageError, VersionNotServedError } from '../errors.ts'
import { parseJson, readInput } from '../input.ts'
import { repeated } from '../option-values.ts'

interface PredictOptions {
  row?: string[]
  data?: string
  gateway?: string
}

export function definePredict(program: Command, cli: Cli): void {
  program
    .command('predict <endpoint>')
    .description('ask an endpoint, or one version (late-flight@7), for a prediction')
    .option('--row <json>', 'a row by column name; may be repeated', repeated)
    .option('--data <json>', 'a whole Open Inference Protocol v2 request, or rows: JSON, @file, or - for stdin')
    .option('--gateway <url>', 'where the gateway listens (default: as the control plane says; env MILLRACE_GATEWAY)')
    .addHelpText('after', EXAMPLES)
    .action(async (target: string, options: PredictOptions) => {
      if ((options.row !== undefined) === (options.data !== undefined))
        throw new UsageError('Give either --row or --data.', `Write for example --row '{"age": 3}'.`)
      const [endpoint, version] = splitTarget(target)
      const input =
        options.data === undefined
          ? (options.row ?? []).map((text) => parseJson('--row', text))
          : parseJson('--data', await readInput(options.data))
      const gateway = await cli.gateway(options.gateway, endpoint)
      const { predict } = await import('../../client/predict.ts')
      const number = version === undefined ? undefined : await numberOf(cli, endpoint, version)
      const ask = async () => {
        const body = isRequest(input) ? input : await fromRows(cli, gateway, endpoint, number, input)
        return predict(gateway, endpoint, body, number)
      }
      const prediction = await ask().catch(async (error: unknown) => {
        throw number === undefined ? error : await whyNotServed(cli, endpoint, number, error)
      })
      if (cli.json) return cli.document(prediction)
      show(cli, prediction)
    })
}

function splitTarget(target: string): [string, string | undefined] {
  const at = target.indexOf('@')
  return at < 0 ? [target, undefined] : [target.slice(0, at), target.slice(at + 1)]
}

/** The gateway knows only what is deployed; the registry knows what became of the rest. */
async function whyNotServed(cli: Cli, endpoint: string, number: string, error: unknown): Promise<unknown> {
  if (!(error instanceof MillraceError) || error.kind !== 'not-found') return error
  try {
    const { api } = await cli.connect()
    const model = (await api.endpoints.list()).find((e) => e.name === endpoint)?.model ?? endpoint
    const { ref, retirement } = await api.versions.get({ ref: `${model}@${number}` })
    return new VersionNotServedError(ref, retirement?.status ?? 'kept')
  } catch {
    // Without a control plane, or without such a version, the gateway's own words are all there is.
    return error
  }
}

/** The wire takes numbers; an alias is looked up. */
async function numberOf(cli: Cli, endpoint: string, version: string): Promise<string> {
  if (/^\d+$/.test(version)) return version
  const { api } = await cli.connect()
  const model = (await api.endpoints.list()).find((e) => e.name === endpoint)?.model ?? endpoint
  return String((await api.versions.get({ ref: `${model}@${version}` })).number)
}

const isRequest = (input: unknown): boolean =>
  typeof input === 'object' && input !== null && 'inputs' in input && Array.isArray(input.inputs)

async function fromRows(
  cli: Cli,
  gateway: GatewayAddress,
  endpoint: string,
  version: string | undefined,
  input: unknown,
): Promise<unknown> {
  const rows = Array.isArray(input) ? input : [input]
  if (!rows.every((row): row is Row => typeof row === 'object' && row !== null && !Array.isArray(row)))
    throw new UsageError('A row must be an object of column names and values.', `Write for example '{"age": 3}'.`)
  const { modelMetadata, requestFromRows } = await import('../../client/predict.ts')
  const { inputs } = await modelMetadata(gateway, endpoint, version)
  return requestFromRows(await withColumns(cli, endpoint, version, inputs), rows)
}

/** Metadata has no column names; where one input holds several columns, the registry knows them. */
async function withColumns(
  cli: Cli,
  endpoint: string,
  version: string | undefined,
  inputs: InputSpec[],
): Promise<InputSpec[]> {
  const several = inputs.some((i) => i.columns === undefined && i.shape.length === 2 && i.shape[1] !== 1)
  if (!several) return inputs
  const { api } = await cli.connect()
  const found = (await api.endpoints.list()).find((e) => e.name === endpoint)
  // Members of a gather take the same: the first speaks for all.
  const member = version ?? found?.gather?.members[0]?.version ?? 'champion'
  const { signature } = await api.versions.get({
    ref: member.includes('@') ? member : `${found?.model ?? endpoint}@${member}`,
  })
  return inputs.map((input) => ({
    ...input,
    columns: signature?.inputs.find((i) => i.name === input.name)?.columns ?? null,
  }))
}

function show(cli: Cli, prediction: Prediction): void {
  const rows = prediction.outputs[0]?.shape[0] ?? 0
  const cell = (output: Prediction['outputs'][number], row: number) => {
    const each = rows === 0 ? 0 : output.data.length / rows
    return output.data
      .slice(row * each, (row + 1) * each)
      .map(String)
      .join(', ')
  }
  cli.table(
    Array.from({ length: rows }, (_, row) => row),
    prediction.outputs.map((output) => ({
      title: output.name,
      value: (row: number) => cell(output, row),
      align: 'right' as const,
    })),
    'no rows',
  )
  cli.line(
    cli.style(
      'dim',
      `${prediction.modelName}@${prediction.modelVersion}  prediction ${prediction.predictionId ?? 'not logged'}`,
    ),
  )
}

const EXAMPLES = `
Examples:
  millrace predict late-flight --row '{"distance": 300, "hour": 17}'
  millrace predict late-flight@7 --data @request.json --json
  echo '[{"distance": 300, "hour": 17}]' | millrace predict late-flight --data -
`
