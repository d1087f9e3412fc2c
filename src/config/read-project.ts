import { checkProject } from './check.ts'
import { toProject } from './normalise.ts'
import { findings } from './problems.ts'
import type { Finding } from './finding.ts'
import type { Project } from './project.ts'
import { projectSchema } from './schema.ts'
import type { Path } from './schema-tree.ts'

export type ReadProject = { kind: 'project'; project: Project } | { kind: 'refused'; findings: Finding[] }

/**
 * What a user wrote, as plain values, becomes a `Project` or a list of what is wrong with it. Pure.
 * @param root - absolute folder of the configuration file
 */
export function readProject(written: unknown, root: string): ReadProject {
  const lost = findPrototypeKeys(written, [])
  if (lost.length > 0) return { kind: 'refused', findings: lost }
  const parsed = projectSchema.safeParse(written)
  if (!parsed.success) return { kind: 'refused', findings: findings(parsed.error.issues, written) }
  const wrong = checkProject(parsed.data)
  return wrong.length > 0
    ? { kind: 'refused', findings: wrong }
    : { kind: 'project', project: toProject(parsed.data, root) }
}

/** The schema library drops fields of this name without a word. */
function findPrototypeKeys(value: unknown, path: Path): Finding[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = [...path, Array.isArray(value) ? Number(key) : key]
    return key === '__proto__'
      ? [{ path: at, message: "can't be a name", fix: 'choose another name.' }]
      : findPrototypeKeys(inner, at)
  })
}
