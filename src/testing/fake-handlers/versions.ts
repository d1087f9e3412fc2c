import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { GateView } from '../../surface/api/gate-schemas.ts'
import type { VersionView } from '../../surface/api/version-schemas.ts'
import { NotFoundError, requireModel, T0, type FakeWorld } from './world.ts'

export const fakeVersionHandlers = (world: FakeWorld): HandlerGroup<'versions'> => ({
  list: ({ model: name, limit }) => (requireModel(name), [fakeVersion(2), fakeVersion(1)].slice(0, limit)),
  get: ({ ref }) => versionOf(world, ref),
  liveAt: ({ model: name, atMs }) => (
    requireModel(name),
    atMs < T0
      ? { version: null, fromMs: null, untilMs: T0, why: null }
      : { version: 'late-flight@2', fromMs: T0, untilMs: null, why: 'released' }
  ),
  import: (input) => {
    world.did('versions.import', input)
    return fakeVersion(2)
  },
})

export function versionOf(world: FakeWorld, ref: string): VersionView {
  if (ref === 'late-flight@champion' || ref === 'late-flight@2') return { ...fakeVersion(2), ...stateOf[world.outcome] }
  if (ref === 'late-flight@1') return fakeVersion(1)
  throw new NotFoundError(`version ${ref}`)
}

const stateOf: Record<FakeWorld['outcome'], Partial<VersionView>> = {
  released: {},
  spare: { release: 'spare', releaseWhy: 'not better than late-flight@1' },
  'gate-failed': { status: 'failed', standing: 'failed', release: 'none' },
  'run-failed': {},
  'awaiting-approval': { release: 'awaiting-approval', releaseWhy: 'no label is declared' },
}

export function fakeVersion(number: 1 | 2): VersionView {
  return {
    ref: `late-flight@${number}`,
    model: 'late-flight',
    number,
    status: 'passed',
    why: null,
    standing: 'passed',
    aliases: number === 2 ? ['champion'] : ['previous'],
    approval: null,
    release: number === 2 ? 'live' : 'warm',
    releaseWhy: null,
    metrics: { auc: 0.717, logLoss: 0.4437 },
    createdAtMs: T0,
    liveSinceMs: number === 2 ? T0 : null,
    retirement: null,
    gate: fakeGate(number),
    lineage: {
      run: 'run-2',
      importedFrom: null,
      revision: 1,
      codeDigest: null,
      params: { depth: 5 },
      seed: 1,
      asOfMs: T0,
      inputs: [{ step: 'train', name: 'rows', digest: `sha256:${'b'.repeat(64)}` }],
      environments: [{ step: 'train', environment: 'inherit', reproducible: false }],
      holdoutDigest: null,
    },
    reportedMetrics: { 'train.logLoss': 0.41 },
    signature: {
      inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, 2], columns: ['age', 'income'] }],
      outputs: [{ name: 'p', datatype: 'FP32', shape: [-1, 2], columns: null }],
    },
    artifacts: [{ name: 'model', digest: `sha256:${'c'.repeat(64)}`, sizeBytes: 12_345 }],
    deployment: {
      id: `deployment-${number}`,
      status: 'ready',
      why: null,
      replicasReady: 2,
      replicasWanted: 2,
      weightPercent: number === 2 ? 100 : 0,
    },
    history: [{ alias: 'champion', fromMs: T0, untilMs: null, why: 'released' }],
  }
}

function fakeGate(number: number): GateView {
  return {
    version: `late-flight@${number}`,
    verdict: 'passed',
    why: 'better than late-flight@1 by 0.012 log loss',
    champion: number === 2 ? 'late-flight@1' : null,
    checks: [
      {
        name: 'beats-constant',
        verdict: 'passed',
        why: 'log loss 0.44 against 0.50',
        figures: { difference: -0.06, low: -0.07, high: -0.05, rows: 5000 },
      },
      {
        name: 'champion',
        verdict: 'passed',
        why: 'interval below zero',
        figures: { difference: -0.012, low: -0.016, high: -0.008 },
      },
    ],
    metrics: { auc: 0.717, logLoss: 0.4437 },
    championMetrics: number === 2 ? { auc: 0.69, logLoss: 0.4557 } : null,
    rows: 5000,
    approval: null,
    decidedAtMs: T0,
  }
}
