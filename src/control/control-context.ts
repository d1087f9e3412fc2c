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
