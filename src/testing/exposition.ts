import { spawnSync } from 'node:child_process'
import { hasCommand } from './has-command.ts'

/** What Prometheus would read: every sample under its metric, with the labels that it has. */
export interface ReadMetric {
  name: string
  type: string
  help: string
  samples: { name: string; labels: Record<string, string>; value: number }[]
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`)
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y

/**
 * The text format of Prometheus, read strictly: each metric has HELP and TYPE, in this order and once; samples follow
 * theirs; no sample comes twice; a histogram's buckets grow to its count. @throws Error naming the line
 */
export function readExposition(text: string): Map<string, ReadMetric> {
  const metrics = new Map<string, ReadMetric>()
  const seen = new Set<string>()
  let current: ReadMetric | null = null
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  for (const [at, line] of text.slice(0, -1).split('\n').entries()) {
    const fail = (why: string): never => {
      throw new Error(`line ${at + 1}: ${why}: ${line}`)
    }
    const help = new RegExp(`^# HELP (${NAME}) (.+)$`).exec(line)
    if (help !== null) {
      if (metrics.has(help[1]!)) fail('this metric was there before')
      current = { name: help[1]!, type: '', help: help[2]!, samples: [] }
      metrics.set(current.name, current)
      continue
    }
    const type = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`).exec(line)
    if (type !== null) {
      if (current === null || current.name !== type[1] || current.type !== '') fail('a TYPE without its HELP')
      current!.type = type[2]!
      continue
    }
    const sample = SAMPLE.exec(line)
    if (sample === null || current === null || current.type === '') return fail('this is no sample of a metric')
    const [, name = '', labelText = '', value = ''] = sample
    const of = current.type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name
    if (of !== current.name) fail(`a sample of another metric than ${current.name}`)
    if (seen.has(`${name}{${labelText}}`)) fail('this sample was there before')
    seen.add(`${name}{${labelText}}`)
    current.samples.push({ name, labels: readLabels(labelText, fail), value: readNumber(value, fail) })
  }
  for (const metric of metrics.values()) if (metric.type === 'histogram') checkHistogram(metric)
  return metrics
}

function readLabels(text: string, fail: (why: string) => never): Record<string, string> {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < text.length) {
    const label = LABEL.exec(text) ?? fail('these are no labels')
    if (label[1]! in labels) fail('a label comes twice')
    labels[label[1]!] = label[2]!.replace(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter))
  }
  return labels
}

function readNumber(text: string, fail: (why: string) => never): number {
  if (text === '+Inf') return Infinity
  if (text === '-Inf') return -Infinity
  return text === 'NaN' || Number.isFinite(Number(text)) ? Number(text) : fail('this is no number')
}

function checkHistogram({ name, samples }: ReadMetric): void {
  const series = Map.groupBy(samples, ({ labels: { le: _le, ...labels } }) => JSON.stringify(labels))
  for (const [labels, all] of series) {
    const buckets = all.filter((sample) => sample.name.endsWith('_bucket'))
    const bounds = buckets.map((bucket) => (bucket.labels['le'] === '+Inf' ? Infinity : Number(bucket.labels['le'])))
    const counts = buckets.map(({ value }) => value)
    const grows = (values: number[]): boolean => values.every((value, i) => i === 0 || value >= values[i - 1]!)
    const count = all.find((sample) => sample.name.endsWith('_count'))?.value
    const hasSum = all.some((sample) => sample.name.endsWith('_sum'))
    if (!grows(bounds) || !grows(counts) || bounds.at(-1) !== Infinity || counts.at(-1) !== count || !hasSum)
      throw new Error(`${name}${labels} is no histogram`)
  }
}

/** The value of one sample. @throws Error where there is not exactly one */
export function valueOf(metrics: Map<string, ReadMetric>, name: string, labels: Record<string, string> = {}): number {
  const all = [...metrics.values()].flatMap(({ samples }) => samples).filter((sample) => sample.name === name)
  const found = all.filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
  if (found.length !== 1)
    throw new Error(`${found.length} of ${all.length} samples of ${name} have ${JSON.stringify(labels)}`)
  return found[0]!.value
}

/** `promtool` comes with Debian's package `prometheus`. */
export const hasPromtool = hasCommand('promtool')

/**
 * What `promtool check metrics` objects to. Names of Triton's are what they are: without `_total`, and in microseconds.
 * @throws Error where it can't read the text at all
 */
export function promtoolFindings(text: string): string[] {
  const { stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  if (error !== undefined) throw error
  const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '')
  return lines.filter((line) => !line.startsWith('nv_inference_'))
}
