import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Result, Target } from './figure.ts'

/** Writes README.md beside the results, from nothing but them. */
export function writeTable(dir: string): void {
  const names = readdirSync(dir).filter((name) => name.endsWith('.json'))
  const results = names.map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Result)
  writeFileSync(join(dir, 'README.md'), readme(results.sort(byId)))
}

/** One result for a terminal. */
export function describe({ id, title, noisy, measures, limitedBy }: Result): string {
  const lines = measures.map(
    ({ name, unit, p50, p95, max, samples, target, met }) =>
      `  ${name}: p50 ${number(p50)} ${unit}, p95 ${number(p95)}, max ${number(max)} (${samples.length} samples)` +
      (target === null ? '' : `; target ${targetText(target)} ${unit}: ${met === true ? 'met' : 'NOT met'}`),
  )
  return [`${id} ${title}${noisy ? ' [noisy: others were at work]' : ''}`, ...lines, `  ${limitedBy}`].join('\n')
}

function readme(results: Result[]): string {
  return `# Measured

Made by \`npm run bench\` and \`npm run bench:serving\` from the JSON files beside it, which hold every sample; [how to run
them, and what each figure means](../../docs/reference/benchmarks.md).

| figure | measured | p50 | p95 | max | target | met |
|---|---|--:|--:|--:|---|---|
${results.flatMap(rowsOf).join('\n')}

## What limits it, and where it was measured

${results.map(paragraphOf).join('\n\n')}
`
}

function rowsOf({ id, noisy, measures }: Result): string[] {
  return measures.map(({ name, unit, p50, p95, max, target, met }) => {
    const figures = [p50, p95, max].map((value) => `${number(value)} ${unit}`)
    const verdict = met === null ? '–' : `${met ? 'yes' : '**no**'}${noisy ? ' (noisy)' : ''}`
    const wanted = target === null ? '–' : `${targetText(target)} ${unit}`
    return `| ${[id, name, ...figures, wanted, verdict].join(' | ')} |`
  })
}

function paragraphOf({ id, title, date, noisy, machine, versions, setup, limitedBy }: Result): string {
  const { cpu, cores, memoryGb, system, loadAverage } = machine
  const load = `load ${loadAverage.before} before, ${loadAverage.after} after${noisy ? ': noisy' : ''}`
  const commit = versions.commit === null ? '' : ` (${versions.commit}${versions.dirty ? ' and changes' : ''})`
  const parts = Object.entries(setup).map(([name, value]) => `${name}: ${value}`)
  return `**${id} ${title}.** ${limitedBy}
Setup: ${parts.join('; ')}.
${date.slice(0, 10)}, ${cores} × ${cpu}, ${memoryGb} GB, ${system}, ${load}; Node ${versions.node}, Millrace ${versions.millrace}${commit}.`
}

const targetText = (target: Target) =>
  'atMost' in target ? `${target.of} ≤ ${number(target.atMost)}` : `${target.of} ≥ ${number(target.atLeast)}`

const number = (value: number) => value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 2 : 0 })

/** P7 before P13. */
const byId = (a: Result, b: Result) => a.id.localeCompare(b.id, 'en', { numeric: true })
