import type { ModelInput, ProjectInput } from '../config/input.ts'
import type { GateConfig, Project, StepConfig } from '../config/project.ts'
import { readProject } from '../config/read-project.ts'
import type { AlertRequest } from '../control/monitoring/alert-requests.ts'
import type { Attempt, Run, Step } from '../control/pipeline/run.ts'
import type { Version } from '../control/registry/version.ts'
import type { Deployment, Release, Replica } from '../control/release/release.ts'
import type { TrialPlan } from '../control/release/trial.ts'
import { LATENCY_BOUNDS_MS, type GatewayReport, type Lease } from '../kernel/contract/routing.ts'
import type { Signature } from '../kernel/model/signature.ts'

/** Nouns of the control plane with every field filled in; a test states what matters to it. */

/**
 * A checked project, as if read from a file in `root`; throws on what a user would be told. Releases are immediate unless
 * a model says otherwise, as most tests are about something else than canaries.
 */
export function projectOf(root: string, models: Record<string, ModelInput>, rest: Partial<ProjectInput> = {}): Project {
  const immediate = Object.entries(models).map(([name, model]) => [
    name,
    { ...model, release: { strategy: 'immediate', ...model.release } },
  ])
  const read = readProject({ name: 'test', models: Object.fromEntries(immediate), ...rest }, root)
  if (read.kind === 'refused') throw new Error(JSON.stringify(read.findings))
  return read.project
}

export function stepConfigOf(overrides: Partial<StepConfig> = {}): StepConfig {
  return {
    name: 'train',
    command: 'true',
    args: false,
    workingDir: '.',
    needs: [],
    inputs: [],
    environment: { kind: 'inherit' },
    env: {},
    timeoutMs: 60_000,
    retries: 0,
    backoffMs: 1_000,
    logLimitBytes: 1_000_000,
    ...overrides,
  }
}

export function runOf(overrides: Partial<Run> = {}): Run {
  return {
    id: 'run-1',
    model: 'm',
    revisionId: 1,
    status: 'running',
    why: null,
    triggerKind: 'manual',
    triggerWhy: 'by hand',
    asOfMs: Date.UTC(2001, 0, 1),
    params: {},
    seed: 7,
    codeDigest: null,
    cancelWhy: null,
    createdAtMs: 0,
    startedAtMs: 0,
    endedAtMs: null,
    ...overrides,
  }
}

/** @param overrides.spec - only what matters of it */
export function stepOf(overrides: Partial<Omit<Step, 'spec'>> & { spec?: Partial<StepConfig> } = {}): Step {
  const name = overrides.name ?? 'train'
  return {
    runId: 'run-1',
    status: 'waiting',
    why: null,
    outputDigest: null,
    modelDigest: null,
    retryAtMs: null,
    startedAtMs: null,
    endedAtMs: null,
    ...overrides,
    name,
    spec: stepConfigOf({ name, ...overrides.spec }),
  }
}

export function attemptOf(overrides: Partial<Attempt> = {}): Attempt {
  return {
    runId: 'run-1',
    step: 'train',
    number: 1,
    token: 'token-1',
    status: 'running',
    why: null,
    exitCode: null,
    dir: '/nowhere',
    startedAtMs: 0,
    endedAtMs: null,
    inputs: null,
    environment: null,
    ...overrides,
  }
}

export const plainSignature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'b'] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1], columns: null }],
}

export function versionOf(overrides: Partial<Version> = {}): Version {
  return {
    id: 'm@1',
    model: 'm',
    number: 1,
    status: 'passed',
    why: null,
    runId: 'run-1',
    revisionId: 1,
    modelDigest: `sha256:${'1'.repeat(64)}`,
    sizeBytes: 1,
    signature: plainSignature,
    scoreOutput: null,
    lineage: {
      importedFrom: null,
      codeDigest: null,
      params: {},
      seed: null,
      asOfMs: null,
      inputs: [],
      environments: [],
      holdoutDigest: null,
    },
    reportedMetrics: null,
    approval: null,
    disposition: null,
    dispositionWhy: null,
    profileDigest: null,
    goldenDigest: null,
    trainedAtMs: 0,
    createdAtMs: 0,
    createdCalendarMs: 0,
    ...overrides,
  }
}

export function releaseOf(overrides: Partial<Release> = {}): Release {
  return {
    id: 'release-1',
    kind: 'release',
    endpoint: 'm',
    model: 'm',
    versionId: 'm@1',
    previousId: null,
    deploymentId: null,
    status: 'queued',
    why: null,
    cause: 'passed',
    requestedBy: 'gate',
    createdAtMs: 0,
    statusAtMs: 0,
    switchedAtMs: null,
    firstAnswerAtMs: null,
    endedAtMs: null,
    ...overrides,
  }
}

export function deploymentOf(overrides: Partial<Deployment> = {}): Deployment {
  return {
    id: 'deployment-1',
    endpoint: 'm',
    model: 'm',
    versionId: 'm@1',
    status: 'ready',
    why: null,
    replicasWanted: 1,
    discoverable: true,
    createdAtMs: 0,
    endedAtMs: null,
    ...overrides,
  }
}

export function replicaOf(overrides: Partial<Replica> = {}): Replica {
  return {
    id: 'replica-1',
    deploymentId: 'deployment-1',
    token: 'token-1',
    status: 'running',
    why: null,
    createdAtMs: 0,
    endedAtMs: null,
    ...overrides,
  }
}

export function leaseOf(overrides: Partial<Lease> = {}): Lease {
  const replicaId = overrides.replicaId ?? 'replica-1'
  return {
    token: 'token-1',
    deploymentId: 'deployment-1',
    pid: 4711,
    state: 'ready',
    why: null,
    socketPath: `/tmp/${replicaId}.sock`,
    httpPort: null,
    inFlight: 0,
    loadedDigest: `sha256:${'1'.repeat(64)}`,
    ...overrides,
    replicaId,
  }
}

export function gatewayReportOf(overrides: Partial<GatewayReport> = {}): GatewayReport {
  return {
    gatewayId: 'gateway',
    token: 'gateway-token',
    pid: 4712,
    port: 8080,
    epoch: 1,
    revision: 1,
    inFlight: [],
    traffic: [],
    trafficSeq: 0,
    log: { answered: 0, logged: 0, sampledOut: 0, dropped: 0, labels: 0, lagMs: 0, diskFull: false },
    ...overrides,
  }
}

export function alertRequestOf(overrides: Partial<AlertRequest> = {}): AlertRequest {
  return {
    model: 'm',
    endpoint: 'm',
    versionId: 'm@1',
    source: 'drift',
    subject: 'distance',
    severity: 'warning',
    why: 'PSI 0.4 over 0.25',
    figures: { psi: 0.4 },
    response: 'tell',
    runbook: null,
    ...overrides,
  }
}

/** A canary of two steps that ask for nothing. */
export function trialPlan(overrides: Partial<TrialPlan> = {}): TrialPlan {
  const asks = { minRequests: 1, minLabels: 0, maxTimeMs: 1_000 }
  return {
    strategy: 'canary',
    canary: {
      steps: [10, 50].map((weightPercent) => ({ weightPercent, soakMs: 0 })),
      ...asks,
      alpha: 0.01,
      margins: { errors: 1, latency: 1.5, predictionShift: 0.25, loss: 0 },
    },
    shadow: { sharePercent: 100, soakMs: 0, ...asks },
    loggedPercent: 100,
    labels: false,
    ...overrides,
  }
}

export function gateConfigOf(overrides: Partial<GateConfig> = {}): GateConfig {
  return {
    thresholds: [],
    loss: 'logLoss',
    comparison: 'nonInferiority',
    margin: 0.005,
    alpha: 0.05,
    resamples: 500,
    cluster: null,
    minRows: 200,
    minClusters: 20,
    stability: { versions: 5, maxSpread: null },
    ...overrides,
  }
}

/** Latency counts with everything in the bucket up to `boundMs`. */
export function latencyCounts(boundMs: number, requests: number): number[] {
  const counts = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0)
  const index = LATENCY_BOUNDS_MS.findIndex((bound) => boundMs <= bound)
  counts[index === -1 ? LATENCY_BOUNDS_MS.length : index] = requests
  return counts
}
