import type { LossName, ModelConfig } from '../../config/project.ts'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import type { Store } from '../../kernel/store/store.ts'
import type { BaselineProfile } from '../evaluation/baseline-profile.ts'
import { evaluationOf } from '../evaluation/evaluation-store.ts'
import type { Version } from '../registry/version.ts'
import { championOf, championSince } from '../registry/version-store.ts'

/** What is watched: the champion of a model, since it has the traffic. */
export interface Subject {
  model: ModelConfig
  champion: Version
  /** Calendar. */
  sinceMs: number
  profile: BaselineProfile | null
  reference: { meanLoss: number; rows: number } | null
  loss: LossName
}

/** Profiles and evaluations never change once they are there: a few of each are kept. */
const KEPT = 32

export class Subjects {
  readonly #store: Store
  readonly #artifacts: Artifacts
  readonly #profiles = new Map<string, BaselineProfile>()

  constructor(store: Store, artifacts: Artifacts) {
    this.#store = store
    this.#artifacts = artifacts
  }

  /** Null while the model has no champion. */
  async of(model: ModelConfig): Promise<Subject | null> {
    const { db } = this.#store
    const champion = await championOf(db, model.name)
    if (champion === null) return null
    const figures = (await evaluationOf(db, champion.id))?.figures ?? null
    return {
      model,
      champion,
      sinceMs: (await championSince(db, champion)) ?? champion.createdCalendarMs,
      profile: await this.#profileOf(champion),
      reference: figures === null ? null : { meanLoss: figures.meanLoss, rows: figures.rows },
      loss: figures?.lossName ?? model.gate.loss,
    }
  }

  async #profileOf({ profileDigest }: Version): Promise<BaselineProfile | null> {
    if (profileDigest === null) return null
    const known = this.#profiles.get(profileDigest)
    if (known !== undefined) return known
    const bytes = await this.#artifacts.readBytes(profileDigest)
    const profile = JSON.parse(Buffer.from(bytes).toString('utf8')) as BaselineProfile
    if (this.#profiles.size >= KEPT) this.#profiles.clear()
    this.#profiles.set(profileDigest, profile)
    return profile
  }
}
