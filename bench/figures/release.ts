import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { EventView } from '../../src/surface/api/event-schemas.ts'
import { SteadyClient } from '../harness/client.ts'
import { median, type Figure, type Measured } from '../harness/figure.ts'
import { Installation } from '../harness/installation.ts'
import { fitTrees, inferBody, label, makeRows, toCsv, toOnnx } from '../harness/tree-model.ts'

const MODEL = 'trees'
const HOLDOUT_ROWS = 20_000
const RELEASES = 20
/** Of the client: one request, its answer, this pause. */
const PAUSE_MS = 5

/** Automatic releases one after the other, on an otherwise idle Millrace; each replaces the one before. */
export const release: Figure = {
  id: 'P7',
  title: 'Training end to first request served by the new version',
  async measure({ samples, note }) {
    const count = samples ?? RELEASES
    const millrace = new Installation(project(count))
    try {
      await millrace.up()
      await millrace.importChampion(MODEL, 'models/0.onnx')
      const client = new SteadyClient(millrace.port, MODEL, inferBody(), PAUSE_MS)
      const releases: Release[] = []
      for (let number = 1; number <= count; number++) {
        const one = await trainAndWait(millrace, client, number)
        releases.push(one)
        note(`release ${number} of ${count}: ${Math.round(one.clientMs)} ms`)
      }
      await client.stop()
      return report(releases, client)
    } finally {
      await millrace.remove()
    }
  },
}

interface Release {
  /** What Millrace records itself: from the step's recorded end to the gateway's first answer. */
  recordedMs: number
  /** From the exit of the training command to the client's first answer. */
  clientMs: number
  phases: Record<Phase, number>
}

async function trainAndWait(millrace: Installation, client: SteadyClient, number: number): Promise<Release> {
  const { api } = millrace
  const last = (await millrace.events(['run', 'step', 'evaluation', 'gate', 'release'])).at(-1)?.seq ?? 0
  const run = await api.runs.start({ model: MODEL, params: { number }, by: 'bench' })
  const settled = await millrace.until('the release', async () => {
    const { status, outcome } = await api.runs.get({ id: run.id })
    if (status === 'failed' || (outcome.settled && outcome.releaseStatus !== 'released')) {
      throw new Error(`${run.id} led to no release: ${outcome.why}`)
    }
    return outcome.settled ? outcome : null
  })
  const ref = settled.version!
  const version = ref.split('@')[1]!
  const seenMs = await millrace.until(`an answer by ${ref}`, () => client.firstAnswers.get(version))
  const recorded = await millrace.until(
    'its lead time',
    async () => (await api.releases.get({ id: settled.release! })).leadTimeMs,
  )
  const exitMs = statSync(join(millrace.dataDir, 'runs', run.id, 'train', '1', 'exit')).mtimeMs
  const events = await millrace.events(['run', 'step', 'evaluation', 'gate', 'release'], last)
  await untilQuiet(millrace)
  return { recordedMs: recorded, clientMs: seenMs - exitMs, phases: phasesOf(events, exitMs, seenMs) }
}

/** The version before the last has gone: what is left is the live one and the one kept warm behind it. */
async function untilQuiet(millrace: Installation): Promise<void> {
  await millrace.until('older replicas to end', async () => (await millrace.api.status.get()).replicas.length <= 4, {
    everyMs: 200,
  })
}

/** In their order, each until the next begins. */
const marks = [
  ['training recorded', 'step', 'succeeded'],
  ['version registered', 'run', 'succeeded'],
  ['evaluation started', 'evaluation', 'running'],
  ['evaluated, gate decided', 'evaluation', 'done'],
  ['release asked for', 'release', 'queued'],
  ['deployment made', 'release', 'deploying'],
  ['replica loaded the model', 'release', 'preflight'],
  ['preflight passed', 'release', 'switching'],
  ['all replicas ready, route flipped', 'release', 'released'],
] as const

type Phase = (typeof marks)[number][0] | 'first answer'

function phasesOf(events: EventView[], exitMs: number, seenMs: number): Record<Phase, number> {
  const phases: [Phase, number][] = []
  let beforeMs = exitMs
  for (const [phase, entity, to] of marks) {
    const event = events.find((e) => e.entity === entity && e.to === to)
    if (event === undefined) throw new Error(`There is no event of a ${entity} that is ${to}.`)
    phases.push([phase, event.atMs - beforeMs])
    beforeMs = event.atMs
  }
  return Object.fromEntries([...phases, ['first answer', seenMs - beforeMs]]) as Record<Phase, number>
}

function report(releases: Release[], client: SteadyClient): Measured {
  const names = Object.keys(releases[0]!.phases) as Phase[]
  const byPhase = names.map((name) => ({ name, samples: releases.map(({ phases }) => phases[name]) }))
  const slowest = byPhase.toSorted((a, b) => median(b.samples) - median(a.samples)).slice(0, 4)
  const target = { of: 'p50', atMost: 3_000 } as const
  return {
    setup: {
      releases: releases.length,
      'holdout rows': HOLDOUT_ROWS,
      columns: 10,
      model: '60 trees of depth 5',
      replicas: 2,
      'client requests answered': client.answered,
      'client requests failed': client.failures.length,
    },
    measures: [
      {
        name: "client's view: training command's exit to first answer",
        unit: 'ms',
        target,
        samples: releases.map((r) => r.clientMs),
      },
      {
        name: "recorded by Millrace (the release's leadTimeMs)",
        unit: 'ms',
        target,
        samples: releases.map((r) => r.recordedMs),
      },
      ...byPhase.map(({ name, samples }) => ({ name: `until: ${name}`, unit: 'ms' as const, samples, target: null })),
    ],
    limitedBy: `Most of it: ${slowest.map(({ name, samples }) => `${name} ${Math.round(median(samples))} ms`).join(', ')} (medians).`,
  }
}

/** The trainer takes a model that was made before: its time is not what is measured. */
function project(releases: number): Record<string, string | Uint8Array> {
  const booster = fitTrees(makeRows(HOLDOUT_ROWS, 1))
  const models = Array.from({ length: releases + 1 }, (_, number): [string, Uint8Array] => [
    `models/${number}.onnx`,
    toOnnx(booster, number / 1_000_000),
  ])
  const config = {
    name: 'bench-release',
    gateway: { port: 0 },
    models: {
      [MODEL]: {
        task: 'binary',
        label,
        holdout: 'holdout.csv',
        params: { number: 0 },
        train: { run: 'cp "models/$MILLRACE_PARAM_NUMBER.onnx" "$MILLRACE_MODEL_DIR/model.onnx"', args: false },
        release: { when: 'always', strategy: 'immediate' },
      },
    },
  }
  return {
    'millrace.yaml': JSON.stringify(config),
    'holdout.csv': toCsv(makeRows(HOLDOUT_ROWS, 2)),
    ...Object.fromEntries(models),
  }
}
