import type { ModelConfig } from '../../config/project.ts'
import type { TriggerKind } from '../pipeline/run-requests.ts'
import type { TriggerState } from './trigger-store.ts'

/** What people see of a trigger. */
export interface TriggerView {
  model: string
  name: string
  kind: Exclude<TriggerKind, 'manual'>
  /** `waiting`: it has something to fire for and holds back; `blocked`: it can't fire. */
  state: 'watching' | 'settling' | 'waiting' | 'paused' | 'blocked'
  why: string
  /** When it fires next, as far as known (calendar). */
  nextMs: number | null
}

/** What one look at one trigger found. */
export interface Looked {
  state: TriggerView['state']
  why: string
  nextMs?: number | null
  /** When to look again, in ms of real time; null: at the next regular look. */
  againInMs?: number | null
}

/** One for each kind of trigger. */
export interface TriggerKindLook<Config> {
  look(model: ModelConfig, trigger: Config, state: TriggerState | null): Promise<Looked>
}
