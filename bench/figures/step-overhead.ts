import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { EventView } from '../../src/surface/api/event-schemas.ts'
import { median, type Figure } from '../harness/figure.ts'
import { Installation } from '../harness/installation.ts'
import { fitTrees, makeRows, toOnnx } from '../harness/tree-model.ts'

const LONG = 1_000
const SHORT = 100
/** Runs of SHORT steps. */
const RUNS = 10
const SPAWNS = 50
const RUN_LIMIT_MS = 15 * 60_000
const TARGET = { of: 'p50', atMost: 30 } as const

/** Chains of steps that do nothing, so that every step waits for the one before and all of the overhead shows. */
export const stepOverhead: Figure = {
  id: 'P9',
  title: "Control-plane overhead per pipeline step, above the command's own process time",
  async measure({ samples, note }) {
    const runs = samples ?? RUNS
    const millrace = new Installation(project())
    try {
      await millrace.up()
      const own: number[] = await spawnTimes()
      const chains: Chain[] = []
      // A B A B: the command alone, then the same in a pipeline.
      for (let i = 0; i < runs; i++) {
        chains.push(await runChain(millrace, 'short', SHORT))
        note(`run ${i + 1} of ${runs}: ${chains.at(-1)!.perStepMs.toFixed(1)} ms a step`)
        own.push(...(await spawnTimes()))
      }
      const long = await runChain(millrace, 'long', LONG)
      note(`${LONG} steps in one run: ${long.perStepMs.toFixed(1)} ms a step`)
      own.push(...(await spawnTimes()))
      return report(chains, long, own)
    } finally {
      await millrace.remove()
    }
  },
}

interface Chain {
  /** From the first step's begin to the last one's recorded success, by the number of steps. */
  perStepMs: number
  /** What the control plane's process used. */
  processorMs: number
  /** Time from each step's recorded success to that of the next. */
  stepsMs: number[]
  /** Medians. */
  phases: Record<'begin' | 'start' | 'end', number>
}

async function runChain(millrace: Installation, model: string, steps: number): Promise<Chain> {
  const entities = ['run', 'step', 'attempt']
  const last = (await millrace.events(entities)).at(-1)?.seq ?? 0
  const usedMs = millrace.processorTimeMs('control-plane')
  const run = await millrace.api.runs.start({ model, by: 'bench' })
  await millrace.until(
    'the run to end',
    async () => (await millrace.api.runs.list({ model, limit: 1 }))[0]?.endedAtMs,
    {
      withinMs: RUN_LIMIT_MS,
      everyMs: 500,
    },
  )
  const processorMs = (millrace.processorTimeMs('control-plane') - usedMs) / steps
  const events = (await millrace.events(entities, last)).filter(
    ({ entity, entityId }) => entity !== 'step' || entityId.startsWith(`${run.id}/`),
  )
  const begun = times(events, 'step', 'running')
  const started = times(events, 'attempt', 'running')
  const succeeded = times(events, 'step', 'succeeded')
  if (succeeded.length !== steps) throw new Error(`${run.id}: ${succeeded.length} of ${steps} steps succeeded.`)
  const differences = (a: number[], b: number[]) => a.map((atMs, i) => atMs - b[i]!)
  return {
    perStepMs: (succeeded.at(-1)! - begun[0]!) / steps,
    processorMs,
    stepsMs: differences(succeeded.slice(1), succeeded),
    phases: {
      begin: median(differences(begun.slice(1), succeeded)),
      start: median(differences(started, begun)),
      end: median(differences(succeeded, started)),
    },
  }
}

const times = (events: EventView[], entity: string, to: string) =>
  events.filter((e) => e.entity === entity && e.to === to).map(({ atMs }) => atMs)

/** What the command costs without Millrace, in ms. */
async function spawnTimes(): Promise<number[]> {
  const samples: number[] = []
  for (let i = 0; i < SPAWNS; i++) {
    const startMs = performance.now()
    await once(spawn('/bin/sh', ['-c', 'true'], { stdio: 'ignore' }), 'exit')
    samples.push(performance.now() - startMs)
  }
  return samples
}

function report(chains: Chain[], long: Chain, own: number[]) {
  const ownMs = median(own)
  const above = (ms: number) => ms - ownMs
  const { begin, start, end } = long.phases
  return {
    setup: { 'runs of 100 steps': chains.length, 'runs of 1,000 steps': 1, command: 'true', store: 'embedded' },
    measures: [
      {
        name: `per step, runs of ${SHORT} steps`,
        unit: 'ms' as const,
        samples: chains.map((c) => above(c.perStepMs)),
        target: TARGET,
      },
      {
        name: `per step, one run of ${LONG} steps`,
        unit: 'ms' as const,
        samples: [above(long.perStepMs)],
        target: TARGET,
      },
      { name: `each step of the run of ${LONG}`, unit: 'ms' as const, samples: long.stepsMs.map(above), target: null },
      {
        name: `control plane's processor time per step, runs of ${SHORT} steps`,
        unit: 'ms' as const,
        samples: chains.map((c) => c.processorMs),
        target: null,
      },
      { name: "the command's own time: /bin/sh -c true", unit: 'ms' as const, samples: own, target: null },
    ],
    limitedBy:
      `Medians in the run of ${LONG}: ${begin} ms until the next step is begun, ${start} ms until its process is started ` +
      `(folders, code, lineage, shell), ${end} ms until its output is taken and its success recorded.`,
  }
}

function project(): Record<string, string | Uint8Array> {
  const config = {
    name: 'bench-steps',
    gateway: { port: 0 },
    models: { short: { steps: chain(SHORT) }, long: { steps: chain(LONG) } },
  }
  return { 'millrace.yaml': JSON.stringify(config), 'model.onnx': toOnnx(fitTrees(makeRows(2_000, 1))) }
}

/** The last step brings the model without which a run counts as failed. */
function chain(count: number): Record<string, object> {
  const names = Array.from({ length: count }, (_, i) => `s${i}`)
  const steps = names.map((name, i) => [
    name,
    {
      run: i === count - 1 ? 'cp model.onnx "$MILLRACE_MODEL_DIR/model.onnx"' : 'true',
      args: false,
      needs: i === 0 ? [] : [names[i - 1]],
    },
  ])
  return Object.fromEntries(steps) as Record<string, object>
}
