import type { RoutingTable } from '../routing-table.ts'
import type { Tell } from '../../front/tell.ts'
import { ModuleCombiner } from './module-combiner.ts'

type Module = { path: string; digest: string; timeoutMs: number }

/** A thread for each combining module of the routes, started when it is first needed and ended when no route has it. */
export class ModuleCombiners {
  readonly #tell: Tell
  readonly #byKey = new Map<string, ModuleCombiner>()

  constructor(tell: Tell) {
    this.#tell = tell
  }

  of(module: Module): ModuleCombiner {
    const key = keyOf(module)
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const made = new ModuleCombiner(module, this.#tell)
    this.#byKey.set(key, made)
    return made
  }

  /** What is under way with a module that no route has any more is worked off. */
  apply({ snapshot }: Pick<RoutingTable, 'snapshot'>): void {
    const wanted = new Set<string>()
    for (const { gather } of snapshot.endpoints)
      if (gather?.combine.kind === 'module') wanted.add(keyOf(gather.combine))
    for (const [key, combiner] of this.#byKey) {
      if (wanted.has(key)) continue
      this.#byKey.delete(key)
      combiner.retire()
    }
  }

  close(): void {
    for (const combiner of this.#byKey.values()) combiner.close()
    this.#byKey.clear()
  }
}

const keyOf = ({ path, digest, timeoutMs }: Module): string => `${digest} ${timeoutMs} ${path}`
