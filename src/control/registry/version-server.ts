import type { CommandConfig, ModelConfig, PrepareConfig, Project, ServerConfig } from '../../config/project.ts'

/**
 * A command that a version is served by, as it was declared when the version was made: what is evaluated, preflighted and
 * served is the same, whatever becomes of the configuration since.
 */
export interface VersionCommand extends CommandConfig {
  /** The project's folder. */
  root: string
  snapshotIgnore: string[]
}

/** It serves the version. */
export type VersionServer = VersionCommand & ServerConfig

/** It prepares what the version is fed. */
export type VersionPrepare = VersionCommand & PrepareConfig

type Place = Pick<Project, 'root' | 'snapshotIgnore'>

/** Pure. @returns null where Millrace's own server serves it */
export function serverOf(project: Place, { serving }: ModelConfig): VersionServer | null {
  return serving.server === null ? null : { ...serving.server, ...placeOf(project) }
}

/** Pure. @returns null where it is fed what callers send */
export function prepareOf(project: Place, { serving }: ModelConfig): VersionPrepare | null {
  return serving.prepare === null ? null : { ...serving.prepare, ...placeOf(project) }
}

const placeOf = ({ root, snapshotIgnore }: Place): Place => ({ root, snapshotIgnore })
