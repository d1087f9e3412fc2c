import { parseArgs } from 'node:util'
import { bootstrap } from './figures/bootstrap.ts'
import { canaries } from './figures/canaries.ts'
import { drift } from './figures/drift.ts'
import { freshClone } from './figures/fresh-clone.ts'
import { httpParser } from './figures/http-parser.ts'
import { ingest } from './figures/ingest.ts'
import { quietDays } from './figures/quiet-days.ts'
import { release } from './figures/release.ts'
import { start } from './figures/start.ts'
import { stepOverhead } from './figures/step-overhead.ts'
import type { Figure } from './harness/figure.ts'
import { Installation } from './harness/installation.ts'
import { runFigures } from './harness/run-figures.ts'

/**
 * Measures what docs/reference/benchmarks.md lists and writes bench/results/<id>.json, from which its README is made:
 *
 *   npm run bench -- [--samples N] [--out DIR] [figures …]        e.g. npm run bench -- P7 P13
 *
 * Exit 0: measured, whether targets are met or not; 1: something could not be measured; 2: no such figure.
 * The figures of serving are in bench/serving.ts.
 */

const figures: Figure[] = [
  release,
  stepOverhead,
  bootstrap,
  ingest,
  drift,
  start,
  httpParser,
  canaries,
  quietDays,
  freshClone,
]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { samples: { type: 'string' }, out: { type: 'string' } },
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void Installation.removeAll().finally(() => process.exit(130)))
}
process.exitCode = await runFigures(figures, {
  names: positionals,
  samples: values.samples === undefined ? null : Number(values.samples),
  outDir: values.out ?? null,
})
