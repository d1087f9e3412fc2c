import type { Transaction } from 'kysely'
import type { GatherEndpointConfig } from '../../config/project.ts'
import { appendEvent, compareAndSet, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { ControlContext } from '../control-context.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { findVersion } from '../registry/version-store.ts'
import { decideGather, type GatherAct, type GatherCandidate } from './decide-gather.ts'
import { gatherMemberMachine, isInGather, type GatherMember, type GatherMemberStatus } from './gather.ts'
import { memberDeployment } from './gather-route.ts'
import { gatherMembers, isReleasedAnew, memberEntity, releasedVersions } from './gather-store.ts'
import type { Deployment } from './release.ts'
import { openDeployments } from './release-store.ts'

/** Keeps the members of every gather as they are to be: one act, one row, one transaction; each safe to repeat. */
export class GatherController {
  readonly #context: ControlContext

  constructor(context: ControlContext) {
    this.#context = context
  }

  async look(): Promise<void> {
    const applied = this.#context.project()
    if (applied === null) return
    const { db } = this.#context.store
    const rows = await gatherMembers(db)
    const { endpoints } = applied.project
    if (endpoints.length === 0 && !rows.some(isInGather)) return
    const deployments = await openDeployments(db)
    for (const config of endpoints)
      await this.#lookAt(
        config,
        rows.filter((row) => row.endpoint === config.name),
        deployments,
      )
    for (const row of rows)
      if (isInGather(row) && !endpoints.some((e) => e.name === row.endpoint))
        await this.#do(row.endpoint, row, { ...row, kind: 'leave', why: 'the endpoint is no longer declared' })
  }

  async #lookAt(config: GatherEndpointConfig, rows: GatherMember[], deployments: Deployment[]): Promise<void> {
    const signatures = new Map<string, Signature | null>()
    for (const row of rows)
      if (row.status === 'member') signatures.set(row.versionId, await this.#signature(row.versionId))
    const candidates: GatherCandidate[] = []
    for (const { model, versions } of config.members)
      for (const released of await releasedVersions(this.#context.store.db, model, versions)) {
        const { versionId } = released
        const deployed = memberDeployment(versionId, deployments) !== null
        const refused = rows.find((row) => row.versionId === versionId && row.status === 'refused')
        const anew = refused !== undefined && (await isReleasedAnew(this.#context.store.db, refused))
        const signature = await this.#signature(versionId)
        candidates.push({ ...released, model, signature, deployed, isReleasedAnew: anew })
      }
    const signatureOf = (id: string) => signatures.get(id) ?? null
    for (const act of decideGather({ config, members: rows, candidates, signatureOf }))
      await this.#do(config.name, rows.find((row) => row.versionId === act.versionId) ?? null, act)
  }

  async #signature(versionId: string): Promise<Signature | null> {
    return (await findVersion(this.#context.store.db, versionId))?.signature ?? null
  }

  async #do(endpoint: string, row: GatherMember | null, act: GatherAct): Promise<void> {
    const { store, log } = this.#context
    const moved = await store.transaction((tx) =>
      row === null ? this.#begin(tx, endpoint, act) : this.#move(tx, row, act),
    )
    if (!moved) return
    const facts = { endpoint, version: act.versionId, why: act.why }
    if (act.kind === 'refuse') log.warn(facts, 'a version could not join a gather, and stays out')
    else log.info(facts, `a gather's ${WORDS[act.kind]}`)
    for (const topic of ['deployment', 'retirement'] as const) this.#context.wake(topic)
  }

  async #begin(tx: Transaction<Database>, endpoint: string, act: GatherAct): Promise<boolean> {
    const { versionId, model, why } = act
    const nowMs = this.#context.clock.epochMs()
    const status = BEGINS[act.kind]
    if (status === null) return false
    const added = await tx
      .insertInto('gather_member')
      .values({
        endpoint,
        version_id: versionId,
        model,
        status,
        why,
        began_at_ms: nowMs,
        admitted_at_ms: status === 'member' ? nowMs : null,
        status_at_ms: nowMs,
      })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst()
    if ((added.numInsertedOrUpdatedRows ?? 0n) === 0n) return false
    await appendEvent(tx, {
      entity: 'gather_member',
      entityId: memberEntity(endpoint, versionId),
      from: null,
      to: status,
      cause: why,
      ...timesOf(this.#context.clock),
    })
    return true
  }

  #move(tx: Transaction<Database>, row: GatherMember, { kind, why }: GatherAct): Promise<boolean> {
    const nowMs = this.#context.clock.epochMs()
    const to = gatherMemberMachine.transition(row.status, kind)
    const anew = kind === 'join' ? { requests: 0, failed: 0, began_at_ms: nowMs } : {}
    const admitted = kind === 'admit' ? { admitted_at_ms: nowMs } : {}
    return compareAndSet(tx, {
      table: 'gather_member',
      key: [row.endpoint, row.versionId],
      entityId: memberEntity(row.endpoint, row.versionId),
      from: row.status,
      to,
      cause: why,
      set: { why, status_at_ms: nowMs, ...anew, ...admitted },
      ...timesOf(this.#context.clock),
    })
  }
}

const BEGINS: Record<GatherAct['kind'], GatherMemberStatus | null> = {
  join: 'joining',
  admit: 'member',
  refuse: 'refused',
  leave: null,
}

const WORDS: Record<Exclude<GatherAct['kind'], 'refuse'>, string> = {
  join: 'new version gets copies of its requests',
  admit: 'new version is a member',
  leave: 'member has left',
}
