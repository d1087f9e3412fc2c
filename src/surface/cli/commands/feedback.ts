import type { Command } from 'commander'

import type { Label } from '../../client/feedback.ts'
import type { Cli } from '../cli.ts'
import { UsageError } from '../errors.ts'
import { parseJson, readInput } from '../input.ts'
import { parseInteger } from '../option-values.ts'

interface FeedbackOptions {
  row: string
  at?: string
  data?: string
  gateway?: string
}

const LABELS_A_CALL = 5_000
const EXAMPLE = `Write for example --data '[{"id": "01hq…", "label": 1}]', or one such object a line.`

export function defineFeedback(program: Command, cli: Cli): void {
  program
    .command('feedback [prediction] [label]')
    .description('tell what was true: the label of a prediction, by its id')
    .option('--row <number>', 'row within the request', '0')
    .option('--at <time>', 'when it became known, ISO 8601 (default: now, by the calendar)')
    .option('--data <json>', 'many labels: JSON array or one per line; text, @file, or - for stdin')
    .option('--gateway <url>', 'where the gateway listens (default: as the control plane says; env MILLRACE_GATEWAY)')
    .addHelpText('after', EXAMPLES)
    .action(async (prediction: string | undefined, label: string | undefined, options: FeedbackOptions) => {
      if (options.data !== undefined && prediction !== undefined)
        throw new UsageError('Labels are given either one by its id, or by --data.', 'Leave out one of the two.')
      const labels =
        options.data === undefined ? [oneLabel(prediction, label, options)] : manyLabels(await readInput(options.data))
      if (labels.length === 0) throw new UsageError('There are no labels in --data.', EXAMPLE)
      const gateway = await cli.gateway(options.gateway)
      const { sendLabels } = await import('../../client/feedback.ts')
      let accepted = 0
      for (let at = 0; at < labels.length; at += LABELS_A_CALL) {
        accepted += await sendLabels(gateway, labels.slice(at, at + LABELS_A_CALL)).catch((error: unknown) => {
          if (accepted > 0) cli.note(`the first ${accepted} labels are accepted; sending them again is harmless`)
          throw error
        })
      }
      if (cli.json) return cli.document({ accepted })
      cli.line(`${accepted} label${accepted === 1 ? '' : 's'} accepted`)
    })
}

function oneLabel(id: string | undefined, label: string | undefined, options: FeedbackOptions): Label {
  if (id === undefined || label === undefined)
    throw new UsageError(
      'A prediction id and its label are needed, or --data.',
      'Write for example millrace feedback <id> 1.',
    )
  return { id, label: labelOf(label), row: parseInteger('--row', options.row, { min: 0 }), at: options.at }
}

/** `1` → 1, `true` → true, anything else is text. */
function labelOf(text: string): Label['label'] {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : text
}

/** An array, `{ "labels": […] }`, or NDJSON. The gateway checks each label. */
function manyLabels(text: string): Label[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const perLine =
    lines.length > 1 && lines.every((line) => line.trimStart().startsWith('{') && line.trimEnd().endsWith('}'))
  if (perLine) return lines.map((line, i) => parseJson(`--data line ${i + 1}`, line) as Label)
  const value = parseJson('--data', text)
  const labels = typeof value === 'object' && value !== null && 'labels' in value ? value.labels : value
  return (Array.isArray(labels) ? labels : [labels]) as Label[]
}

const EXAMPLES = `
Examples:
  millrace feedback 01HQ… 1
  millrace feedback 01HQ… true --row 3 --at 2001-03-02T06:00:00Z
  millrace feedback --data @labels.ndjson
`
