import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { bootstrap } from './figures/bootstrap.ts'
import { canaries } from './figures/canaries.ts'
import { drift } from './figures/drift.ts'
import { freshClone } from './figures/fresh-clone.ts'
import { httpParser } from './figures/http-parser.ts'
import { ingest } from './figures/ingest.ts'
import { quietDays } from './figures/quiet-days.ts'
import { release } from './figures/release.ts'
import { serving } from './figures/serving.ts'
import { start } from './figures/start.ts'
import { stepOverhead } from './figures/step-overhead.ts'
import { isMet, summaryOf, type Figure, type Measured, type Result } from './harness/figure.ts'
import { Installation } from './harness/installation.ts'
import { busyProcessors, loadAverage, machine, versions } from './harness/machine.ts'
import { describe, writeTable } from './harness/results-table.ts'

/**
 * Measures what docs/reference/benchmarks.md lists and writes bench/results/<id>.json, from which its README is made:
 *
 *   npm run bench -- [--samples N] [--out DIR] [figures …]        e.g. npm run bench -- P7 P13
 *
 * Exit 0: measured, whether targets are met or not; 1: something could not be measured; 2: no such figure.
 */

const figures: Figure[] = [
  release,
  stepOverhead,
  bootstrap,
  ingest,
  drift,
  start,
  serving,
  httpParser,
  canaries,
  quietDays,
  freshClone,
]
/** Above either of them others are at work: the load average when the bench begins, processors busy before a figure. */
const QUIET = { load: 2, busyProcessors: 0.5 }
const loadAtStart = loadAverage()

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { samples: { type: 'string' }, out: { type: 'string' } },
  })
  const unknown = positionals.filter((name) => !figures.some(({ id }) => id === name))
  if (unknown.length > 0) {
    console.error(`There is no figure '${unknown.join("', '")}'; there are: ${figures.map(({ id }) => id).join(', ')}.`)
    return 2
  }
  const outDir = resolve(values.out ?? join(import.meta.dirname, 'results'))
  mkdirSync(outDir, { recursive: true })
  const samples = values.samples === undefined ? null : Number(values.samples)
  const wanted = figures.filter(({ id, onlyByName }) =>
    positionals.length === 0 ? onlyByName !== true : positionals.includes(id),
  )
  let failed = 0
  for (const figure of wanted) failed += (await measureOne(figure, samples, outDir)) ? 0 : 1
  writeTable(outDir)
  return failed === 0 ? 0 : 1
}

async function measureOne(figure: Figure, samples: number | null, outDir: string): Promise<boolean> {
  console.error(`${figure.id}: ${figure.title}`)
  const loadBefore = loadAverage()
  const noisy = loadAtStart > QUIET.load || (await busyProcessors()) > QUIET.busyProcessors
  try {
    const measured = await figure.measure({ samples, note: (text) => console.error(`  ${text}`) })
    const result = resultOf(figure, measured, { noisy, machine: machine(loadBefore) })
    writeFileSync(join(outDir, `${figure.id}.json`), `${JSON.stringify(result, null, 2)}\n`)
    console.log(describe(result))
    return true
  } catch (error) {
    console.error(`${figure.id} could not be measured:`, error)
    return false
  }
}

function resultOf(
  { id, title }: Figure,
  { setup, measures, limitedBy }: Measured,
  where: Pick<Result, 'noisy' | 'machine'>,
): Result {
  const verdicts = measures.map(isMet).filter((met) => met !== null)
  return {
    id,
    title,
    date: new Date().toISOString(),
    ...where,
    met: verdicts.length === 0 ? null : verdicts.every(Boolean),
    versions: versions(),
    setup,
    measures: measures.map((measure) => ({
      ...measure,
      samples: measure.samples.map(rounded),
      ...roundedSummary(measure.samples),
      met: isMet(measure),
    })),
    limitedBy,
  }
}

function roundedSummary(samples: number[]): ReturnType<typeof summaryOf> {
  const { p50, p95, min, max } = summaryOf(samples)
  return { p50: rounded(p50), p95: rounded(p95), min: rounded(min), max: rounded(max) }
}

const rounded = (value: number) => (Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(4)))

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void Installation.removeAll().finally(() => process.exit(130)))
}
process.exitCode = await main()
