import type { HistogramSample, MetricDefinition, MetricFamily } from './metric.ts'

/** Of what `exposition` gives. @see Prometheus, "Exposition formats", text format 0.0.4 */
export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * Families as Prometheus reads them. One without samples still says its name and what it means.
 * @throws RangeError where a sample has another number of labels than its metric: a mistake of ours
 */
export function exposition(families: readonly MetricFamily[]): string {
  return families.map(familyText).join('')
}

function familyText(family: MetricFamily): string {
  const { definition } = family
  const { name, type, help } = definition
  let text = `# HELP ${name} ${escaped(help, HELP)}\n# TYPE ${name} ${type}\n`
  if (family.definition.type === 'histogram')
    for (const sample of family.samples as readonly HistogramSample[]) text += histogramText(definition, sample)
  else
    for (const { labels, value } of family.samples as readonly { labels: readonly string[]; value: number }[])
      text += `${name}${braced(labelPairs(definition, labels))} ${numberText(value)}\n`
  return text
}

function histogramText(definition: MetricDefinition, { labels, bounds, counts, sum }: HistogramSample): string {
  const { name } = definition
  const pairs = labelPairs(definition, labels)
  let text = ''
  let below = 0
  for (let i = 0; i <= bounds.length; i++) {
    below += counts[i] ?? 0
    const bound = i < bounds.length ? numberText(bounds[i] as number) : '+Inf'
    text += `${name}_bucket${braced([...pairs, `le="${bound}"`])} ${below}\n`
  }
  return `${text}${name}_sum${braced(pairs)} ${numberText(sum)}\n${name}_count${braced(pairs)} ${below}\n`
}

function labelPairs({ name, labels: names }: MetricDefinition, values: readonly string[]): string[] {
  if (values.length !== names.length)
    throw new RangeError(`${name} has the labels ${names.join(', ')}, and got ${values.length} values.`)
  return values.flatMap((value, i) => (value === '' ? [] : [`${names[i]}="${escaped(value, VALUE)}"`]))
}

function braced(pairs: readonly string[]): string {
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

/** In a help text a quote stands for itself. */
const HELP = /[\\\n]/g
const VALUE = /[\\\n"]/g

function escaped(text: string, special: RegExp): string {
  return text.replace(special, (letter) => (letter === '\n' ? String.raw`\n` : `\\${letter}`))
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value)
  if (Number.isNaN(value)) return 'NaN'
  return value > 0 ? '+Inf' : '-Inf'
}
