import type { ModelConfig, Project, ServerConfig } from '../../config/project.ts'

/**
 * The command that serves a version, as it was declared when the version was made: what is evaluated, preflighted and
 * served is the same, whatever becomes of the configuration since.
 */
export interface VersionServer extends ServerConfig {
  /** The project's folder. */
  root: string
  snapshotIgnore: string[]
}

/** Pure. @returns null where Millrace's own server serves it */
export function serverOf(project: Pick<Project, 'root' | 'snapshotIgnore'>, model: ModelConfig): VersionServer | null {
  const { server } = model.serving
  return server === null ? null : { ...server, root: project.root, snapshotIgnore: project.snapshotIgnore }
}
