import type { Store } from '../../kernel/store/store.ts'
import type { Version } from '../registry/version.ts'
import { findVersion } from '../registry/version-store.ts'

/** Versions that are deployed: what is read of them here never changes once they have been opened. */
export class DeployedVersions {
  readonly #store: Store
  readonly #known = new Map<string, Version>()

  constructor(store: Store) {
    this.#store = store
  }

  async of(id: string): Promise<Version> {
    const known = this.#known.get(id)
    if (known !== undefined) return known
    // A deployment refers to its version by a foreign key.
    const version = (await findVersion(this.#store.db, id))!
    if (version.signature !== null) this.#known.set(id, version)
    return version
  }

  /** By id; all others are forgotten. */
  async all(ids: readonly string[]): Promise<Map<string, Version>> {
    const versions = new Map<string, Version>()
    for (const id of ids) versions.set(id, await this.of(id))
    for (const known of this.#known.keys()) if (!versions.has(known)) this.#known.delete(known)
    return versions
  }
}
