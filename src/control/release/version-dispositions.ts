import type { ModelConfig } from '../../config/project.ts'
import { unreachable } from '../../kernel/errors.ts'
import { configuredModel, type ControlContext } from '../control-context.ts'
import { evaluationOf, gateOf } from '../evaluation/evaluation-store.ts'
import { setDisposition } from '../registry/version-requests.ts'
import { championOf, championSince, findVersion } from '../registry/version-store.ts'
import type { Disposition, Version } from '../registry/version.ts'
import { decideRelease, type ReleaseDecision } from './decide-release.ts'
import { sameAsLost, type Freeze } from './freeze.ts'
import { activeFreezes, lastRollbackFreeze, versionsSince } from './freeze-store.ts'
import { requestRelease } from './release-requests.ts'
import { GATE } from './release.ts'
import { isRollingBack } from './release-store.ts'

/** Decides what becomes of each proven version: released, kept as a spare, refused, or put before a person. */
export class VersionDispositions {
  readonly #context: ControlContext
  readonly #missing: (model: ModelConfig) => string[]
  /** Versions that wait for a person, with what the answer depends on. */
  readonly #asked = new Map<string, string>()

  /** @param missing - what is missing in a model's configuration for automatic release */
  constructor(context: ControlContext, missing: (model: ModelConfig) => string[]) {
    this.#context = context
    this.#missing = missing
  }

  /** @param freezes - of its model */
  async decide(version: Version, freezes: Freeze[]): Promise<void> {
    const applied = this.#context.project()
    const model = configuredModel(applied, version.model)
    if (applied === null || model === null || version.status === 'evaluating') return
    // Until a person speaks, a freeze begins or ends, or the configuration changes, the answer is the same.
    const asks = [applied.revisionId, version.approval?.atMs, version.status, ...freezes.map((f) => f.id)]
    const question = asks.join(' ')
    if (version.disposition === 'awaiting-approval' && this.#asked.get(version.id) === question) return
    const decision = await this.#decision(version, model, freezes)
    // While a person or a monitor goes back nothing goes forward by itself: what then freezes it is a moment away.
    const byItself = decision.kind === 'release' && version.approval?.decision !== 'approved'
    if (byItself && (await isRollingBack(this.#context.store.db, version.model))) return
    await this.#settle(version, model, decision)
    if (decision.kind === 'awaitApproval') this.#asked.set(version.id, question)
    else this.#asked.delete(version.id)
  }

  async #decision(version: Version, model: ModelConfig, freezes: Freeze[]): Promise<ReleaseDecision> {
    const { db } = this.#context.store
    const champion = await championOf(db, version.model)
    return decideRelease(
      {
        version,
        gate: await gateOf(db, version.id),
        comparedWith: (await evaluationOf(db, version.id))?.championId ?? null,
        missing: this.#missing(model),
        champion: champion && {
          id: champion.id,
          liveSinceCalendarMs: (await championSince(db, champion)) ?? champion.createdCalendarMs,
        },
        when: model.release.when,
        freezes,
        sameAsLost: await this.#sameAsLost(version),
      },
      this.#context.clock.calendarMs(),
    )
  }

  async #sameAsLost({ id, model, lineage }: Version): Promise<ReturnType<typeof sameAsLost>> {
    const { db } = this.#context.store
    const freezes = await lastRollbackFreeze(db, model)
    const [last] = freezes
    const isMadeSince = last !== undefined && (await versionsSince(db, last.id, 'ended', [id])).has(id)
    return sameAsLost(freezes, { codeDigest: lineage.codeDigest, isMadeSince })
  }

  async #settle(version: Version, model: ModelConfig, decision: ReleaseDecision): Promise<void> {
    switch (decision.kind) {
      case 'wait':
        return
      case 'awaitApproval':
        if (version.disposition === 'awaiting-approval' && version.dispositionWhy === decision.why) return
        return this.#dispose(version, 'awaiting-approval', decision.why)
      case 'spare':
        return this.#dispose(version, 'spare', decision.why)
      case 'refuse':
        return this.#dispose(version, 'refused', decision.why)
      case 'keep':
        return this.#dispose(version, 'released', decision.why)
      case 'release':
        await this.#dispose(version, 'released', decision.why, model)
        return this.#context.wake('release')
      default:
        return unreachable(decision)
    }
  }

  /** @param release - given, a release is asked for with it */
  async #dispose(version: Version, disposition: Disposition, why: string, release?: ModelConfig): Promise<void> {
    const { store, clock } = this.#context
    await store.transaction(async (tx) => {
      // A person may have spoken since it was looked at: then the question is open again.
      const now = await findVersion(tx, version.id)
      if (now?.disposition !== version.disposition || now.approval?.atMs !== version.approval?.atMs) return
      const byItself = release !== undefined && now.approval?.decision !== 'approved'
      if (byItself && (await activeFreezes(tx, version.model)).length > 0) return
      if (byItself && (await isRollingBack(tx, version.model))) return
      await setDisposition(tx, clock, version.id, disposition, why)
      if (release === undefined) return
      const by = version.approval?.by ?? GATE
      const { endpoint, name: model } = release
      await requestRelease(tx, clock, { kind: 'release', endpoint, model, versionId: version.id, cause: why, by })
    })
    this.#context.wake('evaluation')
  }
}
