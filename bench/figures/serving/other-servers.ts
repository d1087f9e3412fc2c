import type { Figure, Measure } from '../../harness/figure.ts'
import { Comparison, SAMPLE } from '../../harness/serving/comparison.ts'
import { DataPlane, inferPath } from '../../harness/serving/data-plane.ts'
import { driveMeasured, generator } from '../../harness/serving/drive.ts'
import { writeSmallModel } from '../../harness/serving/models.ts'
import { installOthers, otherServers, startOther } from '../../harness/serving/other-servers.ts'
import { CORES } from '../../harness/serving/pinned.ts'
import { startMillrace } from './whole-path.ts'

const OURS = 'Millrace'
const TRITON = 'Triton'
const SKIPPED = 'skipped: it did not install or did not answer'
/** They differ by far more than samples do. */
const ROUNDS = 3

/** Each with its defaults and all cores for itself; only one runs at a time, and Millrace before each of them. */
export const comparedServers: Figure = {
  id: 'P4',
  title: 'Gateway, prediction log and model server, against the model servers that PyPI has',
  async measure({ samples, note }) {
    const seen = new Comparison<string>()
    const versions = Object.fromEntries(otherServers.map(({ name }) => [name, SKIPPED]))
    for (const server of await installOthers(note)) {
      const plane = await DataPlane.open()
      try {
        const model = writeSmallModel(plane.dir)
        const other = await startOther(plane, server, model, CORES.any, note)
        if (other === null) continue
        versions[server.name] = other.version
        const ours = await startMillrace(plane, model)
        const order = { path: inferPath(model), body: model.body, ...SAMPLE, cores: CORES.any }
        for (let round = 0; round < (samples ?? ROUNDS); round++) {
          seen.add(`${OURS} beside ${server.name}`, await driveMeasured({ ...order, port: ours.port }, []))
          seen.add(server.name, await driveMeasured({ ...order, port: other.port }, []))
        }
        note(
          `${server.name}: ${Math.round(seen.rate(server.name))} requests/s, Millrace ${Math.round(seen.rate(`${OURS} beside ${server.name}`))}`,
        )
      } finally {
        await plane.close()
      }
    }
    return report(seen, versions)
  },
}

function report(seen: Comparison<string>, versions: Record<string, string>) {
  const found = otherServers.map(({ name }) => name).filter((name) => seen.of(name).length > 0)
  const python = found.filter((name) => name !== TRITON).toSorted((a, b) => seen.rate(b) - seen.rate(a))
  const measures: Measure[] = []
  const times = (name: string, what: string, atLeast: number): Measure => ({
    name: `throughput, times that of ${what}`,
    unit: 'ratio',
    samples: seen.ratios(`${OURS} beside ${name}`, name),
    target: { of: 'p50', atLeast },
  })
  const best = python[0]
  if (best !== undefined) measures.push(times(best, `${best}, the fastest in Python`, 10))
  if (found.includes(TRITON)) measures.push(times(TRITON, 'Triton', 0.8))
  for (const name of found) measures.push(...seen.measures(`${OURS} beside ${name}`, []), ...seen.measures(name, []))
  if (measures.length === 0) throw new Error('none of the other servers could be installed and started')
  return {
    setup: {
      connections: SAMPLE.connections,
      'seconds a sample': SAMPLE.countMs / 1_000,
      'load generator': generator,
      ...versions,
    },
    measures,
    limitedBy: 'Processors, the load generator among them: everything runs on those of this machine.',
  }
}
