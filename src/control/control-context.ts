import type { ModelConfig, Project } from '../config/project.ts'
import type { Artifacts } from '../kernel/artifacts/artifacts.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Log } from '../kernel/log.ts'
import type { Store } from '../kernel/store/store.ts'

/** What every stage of the control plane is given. Stages know nothing else of each other than rows and topics. */
export interface ControlContext {
  store: Store
  clock: Clock
  artifacts: Artifacts
  dataDir: string
  log: Log
  /** Tells the loops that rows of this topic changed, so that they look now and not at the next tick. */
  wake(topic: Topic): void
  /** True while free disk space is below the watermark: nothing new may be started. */
  diskLow(): boolean
  /** The applied revision; null before the first `apply`. */
  project(): AppliedProject | null
}

export type Topic = 'trigger' | 'run' | 'version' | 'evaluation' | 'release' | 'deployment' | 'route' | 'retirement'

export interface AppliedProject {
  revisionId: number
  project: Project
  /** Models that left the configuration: nothing starts for them, what serves goes on. */
  paused: ModelConfig[]
}

/** Of the configuration, and those that have left it. */
export function allModels(applied: AppliedProject | null): ModelConfig[] {
  return applied === null ? [] : [...applied.project.models, ...applied.paused]
}

/** Null: it is not in the configuration, or no longer. */
export function configuredModel(applied: AppliedProject | null, name: string): ModelConfig | null {
  return applied?.project.models.find((model) => model.name === name) ?? null
}

/** Also one that has left the configuration: what serves goes on as it was declared. */
export function findModel(applied: AppliedProject | null, name: string): ModelConfig | null {
  return allModels(applied).find((model) => model.name === name) ?? null
}
