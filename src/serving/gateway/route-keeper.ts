import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { loadRoutes, saveRoutes } from './routes-file.ts'
import { buildTable, decideSnapshot, emptySnapshot } from './routing-table.ts'
import type { RoutingTable } from './routing-table.ts'
import type { Tell } from '../front/tell.ts'

export interface RouteKeeperParts {
  /** Its own: what it has acknowledged must be there when it starts again. */
  path: string
  /** What a gateway begins with that has none of its own: the routes of the first one. */
  seedPath?: string
  /** Called with each new table before any request is routed by it. */
  onTable: (table: RoutingTable) => void
  /** Called once a snapshot is in use and on disk: now it may be acknowledged. */
  onKept: () => void
  tell: Tell
}

/**
 * The routes in use, and their copy on disk. A new snapshot is used at once, and acknowledged only when it is on disk:
 * else a gateway that restarts could serve from routes whose replicas were stopped upon its own word.
 */
export class RouteKeeper {
  readonly #parts: RouteKeeperParts
  #table: RoutingTable = buildTable(emptySnapshot)
  #kept: RoutingSnapshot = emptySnapshot
  #saving: Promise<void> | null = null

  constructor(parts: RouteKeeperParts) {
    this.#parts = parts
  }

  get table(): RoutingTable {
    return this.#table
  }

  get hasRoutes(): boolean {
    return this.#table.snapshot !== emptySnapshot
  }

  /** What the control plane may rely on. */
  get kept(): { epoch: number; revision: number } {
    return this.#kept
  }

  /** A damaged file is told and left alone: the gateway starts without routes and gets them from the control plane. */
  async load(): Promise<void> {
    try {
      const { path, seedPath = path } = this.#parts
      const snapshot = (await loadRoutes(path)) ?? (await loadRoutes(seedPath))
      if (snapshot === null) return
      this.#use(snapshot)
      this.#kept = snapshot
    } catch (error) {
      this.#parts.tell('error', 'the routes on disk cannot be used', { error: messageOf(error) })
    }
  }

  offer(snapshot: RoutingSnapshot): void {
    const decision = decideSnapshot(this.#table.snapshot, snapshot)
    if (decision.kind === 'refuse') this.#parts.tell('warn', 'older routes were refused', { why: decision.why })
    if (decision.kind !== 'apply') return
    this.#use(snapshot)
    this.#parts.tell('info', 'new routes are in use', { epoch: snapshot.epoch, revision: snapshot.revision })
    this.#saving ??= this.#save().finally(() => (this.#saving = null))
  }

  /** Waits until what is in use is on disk, or has failed to get there. */
  async settled(): Promise<void> {
    await this.#saving
  }

  #use(snapshot: RoutingSnapshot): void {
    this.#table = buildTable(snapshot)
    this.#parts.onTable(this.#table)
  }

  /** One at a time; what came meanwhile is saved next, and only the last of it. */
  async #save(): Promise<void> {
    while (this.#kept !== this.#table.snapshot) {
      const { snapshot } = this.#table
      try {
        await saveRoutes(this.#parts.path, snapshot)
      } catch (error) {
        // A full disk must not keep a rollback from taking effect: acknowledged all the same, and told.
        this.#parts.tell('error', 'the routes could not be saved', { error: messageOf(error) })
      }
      this.#kept = snapshot
      this.#parts.onKept()
    }
  }
}
