import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/* Trains with the templates' own commands, and measures what they make. */

/** The features of the customers that both templates learn from, in the order of their models' inputs. */
export const customerColumns = [
  'tenure_months',
  'monthly_fee',
  'support_calls',
  'days_since_login',
  'discount',
  'plan',
] as const

export interface TrainedTemplate {
  /** The ONNX file. */
  model: Uint8Array
  metrics: unknown
  stdout: string
}

/**
 * Runs a training command by the training contract, as a step would.
 * @param dir - the project's folder
 * @throws what execFile does where the command fails, with its words
 */
export async function trainTemplate(
  dir: string,
  command: string,
  args: string[],
  params: object,
): Promise<TrainedTemplate> {
  const out = await mkdtemp(join(tmpdir(), 'mr-template-'))
  try {
    const [modelDir, outputDir] = [join(out, 'model'), join(out, 'output')]
    await Promise.all([mkdir(modelDir), mkdir(outputDir)])
    await writeFile(join(out, 'params.json'), JSON.stringify(params))
    const env = {
      PATH: process.env['PATH'],
      MILLRACE_INPUT_CUSTOMERS: join(dir, 'data/customers/*.csv'),
      MILLRACE_MODEL_DIR: modelDir,
      MILLRACE_OUTPUT_DIR: outputDir,
      MILLRACE_PARAMS: join(out, 'params.json'),
      MILLRACE_SEED: '0',
    }
    const { stdout } = await promisify(execFile)(command, args, { cwd: dir, env })
    return {
      model: await readFile(join(modelDir, 'model.onnx')),
      metrics: JSON.parse(await readFile(join(outputDir, 'metrics.json'), 'utf8')),
      stdout,
    }
  } finally {
    await rm(out, { recursive: true, force: true })
  }
}

export interface TemplateQuality {
  inputs: readonly string[]
  logLoss: number
  /** Log loss of saying the share of positives to everybody. */
  constant: number
  auc: number
}

/**
 * What a template's model is worth on its holdout, by arithmetic of its own: one feed for each column, in two batches to
 * see that the number of rows is open.
 * @param dir - the project's folder
 * @param output - whose last column is the probability of `churned`
 */
export async function measureOnHoldout(dir: string, model: Uint8Array, output: string): Promise<TemplateQuality> {
  const ort = await import('onnxruntime-node')
  const [header, ...lines] = (await readFile(join(dir, 'data/holdout.csv'), 'utf8')).trim().split('\n')
  const column = (name: string, from: string[]) =>
    from.map((line) => line.split(',')[header!.split(',').indexOf(name)]!)
  const session = await ort.InferenceSession.create(model)
  const scores: number[] = []
  for (const batch of [lines.slice(0, 1), lines.slice(1)]) {
    const feeds = Object.fromEntries(
      session.inputNames.map((name) => {
        const values = column(name, batch)
        const tensor =
          name === 'plan'
            ? new ort.Tensor('string', values, [batch.length, 1])
            : new ort.Tensor('float32', Float32Array.from(values.map(Number)), [batch.length, 1])
        return [name, tensor]
      }),
    )
    const { data, dims } = (await session.run(feeds))[output]!
    const width = dims[1]!
    for (let row = 0; row < batch.length; row++) scores.push(Number(data[row * width + width - 1]))
  }
  await session.release()
  const labels = column('churned', lines).map(Number)
  const rate = labels.reduce((a, b) => a + b) / labels.length
  return {
    inputs: session.inputNames,
    logLoss: logLoss(labels, scores),
    constant: logLoss(
      labels,
      labels.map(() => rate),
    ),
    auc: auc(labels, scores),
  }
}

const logLoss = (labels: number[], scores: number[]) =>
  labels.reduce((sum, y, i) => sum - Math.log(y === 1 ? scores[i]! : 1 - scores[i]!), 0) / labels.length

function auc(labels: number[], scores: number[]): number {
  const [yes, no] = [1, 0].map((label) => scores.filter((_, i) => labels[i] === label)) as [number[], number[]]
  const wins = yes.flatMap((a) => no.map((b): number => (a > b ? 1 : a === b ? 0.5 : 0))).reduce((a, b) => a + b, 0)
  return wins / (yes.length * no.length)
}
