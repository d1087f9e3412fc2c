import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { isMet, summaryOf, type Figure, type Measured, type Result } from './figure.ts'
import { busyProcessors, loadAverage, machine, versions } from './machine.ts'
import { describe, writeTable } from './results-table.ts'

/** Above either of them others are at work: the load average when the bench begins, processors busy before a figure. */
const QUIET = { load: 2, busyProcessors: 0.5 }
const loadAtStart = loadAverage()

export interface Order {
  /** Ids; none: all that need not be named. */
  names: string[]
  samples: number | null
  outDir: string | null
}

/** @returns the exit code: 0 measured, whether targets are met or not; 1 something could not be measured; 2 no such figure */
export async function runFigures(
  figures: readonly Figure[],
  { names, samples, outDir: asked }: Order,
): Promise<number> {
  const unknown = names.filter((name) => !figures.some(({ id }) => id === name))
  if (unknown.length > 0) {
    console.error(`There is no figure '${unknown.join("', '")}'; there are: ${figures.map(({ id }) => id).join(', ')}.`)
    return 2
  }
  const outDir = resultsDir(asked)
  const wanted = figures.filter(({ id, onlyByName }) => (names.length === 0 ? onlyByName !== true : names.includes(id)))
  let failed = 0
  for (const figure of wanted) failed += (await measureOne(figure, samples, outDir)) ? 0 : 1
  writeTable(outDir)
  return failed === 0 ? 0 : 1
}

/** @param asked - null: where results are kept */
export function resultsDir(asked: string | null): string {
  const outDir = resolve(asked ?? join(import.meta.dirname, '..', 'results'))
  mkdirSync(outDir, { recursive: true })
  return outDir
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
