import type { DeclaredTable } from '../../kernel/features/feature-source.ts'
import type { ScoreOutput, Signature } from '../../kernel/model/signature.ts'
import { stateMachine } from '../../kernel/state-machine.ts'
import type { VersionPrepare, VersionServer } from './version-server.ts'

export type VersionStatus =
  | 'candidate' // registered; waits for its evaluation, or for a person where nothing to evaluate by is declared
  | 'evaluating'
  | 'passed' // the gate's verdicts
  | 'failed'
  | 'inconclusive'
  | 'error'

export type VersionEvent = 'evaluate' | 'pass' | 'fail' | 'undecided' | 'err'

const verdicts = { pass: 'passed', fail: 'failed', undecided: 'inconclusive', err: 'error' } as const

export const versionMachine = stateMachine<VersionStatus, VersionEvent>('version', {
  candidate: { evaluate: 'evaluating', err: 'error' },
  evaluating: verdicts,
  passed: {},
  failed: {},
  inconclusive: {},
  error: {},
})

/** What became of a version after its verdict. */
export type Disposition = 'released' | 'spare' | 'awaiting-approval' | 'refused'

export interface Approval {
  decision: 'approved' | 'rejected'
  by: string
  why: string
  atMs: number
}

export interface Version {
  /** `model@number` */
  id: string
  model: string
  number: number
  status: VersionStatus
  why: string | null
  runId: string | null
  revisionId: number
  modelDigest: string
  sizeBytes: number
  /** Known once it has been opened: by its evaluation, or at import. */
  signature: Signature | null
  scoreOutput: ScoreOutput | null
  lineage: Lineage
  reportedMetrics: unknown
  approval: Approval | null
  disposition: Disposition | null
  dispositionWhy: string | null
  profileDigest: string | null
  goldenDigest: string | null
  trainedAtMs: number
  createdAtMs: number
  createdCalendarMs: number
}

/** Everything that a version was made from. */
export interface Lineage {
  importedFrom: string | null
  codeDigest: string | null
  params: Record<string, string | number | boolean>
  seed: number | null
  asOfMs: number | null
  /** Made by a backfill, as of a past date: evaluated, and never released by itself. */
  backfilled?: boolean
  inputs: { step: string; name: string; digest: string }[]
  environments: { step: string; environment: string; reproducible: boolean }[]
  holdoutDigest: string | null
  /** Digest of the ONNX file as it was written, where it was changed to be servable; how it is served. Absent: as it is. */
  registration?: { original: string | null; notes: string[] }
  /** What serves it, where that is not Millrace's own server: as declared when it was made. */
  server?: VersionServer
  /** What prepares that which it is fed, where there is a step for it: as declared when it was made. */
  prepare?: VersionPrepare
  /** Tables that came with it and give some of its inputs, as declared when it was made. */
  tables?: DeclaredTable[]
}

/** Whether a version may take traffic: a person's word counts over the verdict. */
export function mayBeReleased(version: Version): boolean {
  if (version.approval !== null) return version.approval.decision === 'approved'
  return version.status === 'passed'
}

/** `late-flight@7` → its parts. @returns null where the text is not of that form */
export function parseVersionRef(ref: string): { model: string; number: number | null; alias: string | null } | null {
  const match = /^([^@\s/]+)@([^@\s/]+)$/.exec(ref)
  if (match === null) return null
  const [, model, rest] = match as unknown as [string, string, string]
  return /^\d+$/.test(rest) ? { model, number: Number(rest), alias: null } : { model, number: null, alias: rest }
}
