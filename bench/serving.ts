import { parseArgs } from 'node:util'
import { addedLatency } from './figures/serving/added-latency.ts'
import { batching } from './figures/serving/batching.ts'
import { gatewayHop } from './figures/serving/gateway-hop.ts'
import { growth } from './figures/serving/growth.ts'
import { logCost } from './figures/serving/log-cost.ts'
import { comparedServers } from './figures/serving/other-servers.ts'
import { wholePath } from './figures/serving/whole-path.ts'
import { resultsDir, runFigures } from './harness/run-figures.ts'
import { writeServingProfile } from './harness/serving/serving-profile.ts'

/**
 * The figures of the data plane, gateways and model servers without a control plane:
 *
 *   npm run bench:serving -- [--samples N] [--out DIR] [P1 P1b P2 P3 P4 P5 P6]
 *   npm run bench:serving -- --profile [--out DIR]        where the time goes, into serving-profile.md
 *
 * Exit codes as those of bench/run.ts. P4 installs the servers of others at its first run, which takes minutes.
 */

const figures = [gatewayHop, addedLatency, logCost, wholePath, comparedServers, batching, growth]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { samples: { type: 'string' }, out: { type: 'string' }, profile: { type: 'boolean' } },
})
const outDir = values.out ?? null

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
if (values.profile === true) await writeServingProfile(resultsDir(outDir), (text) => console.error(`  ${text}`))
else {
  const samples = values.samples === undefined ? null : Number(values.samples)
  process.exitCode = await runFigures(figures, { names: positionals, samples, outDir })
}
