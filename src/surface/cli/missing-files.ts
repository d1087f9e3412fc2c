import { existsSync, globSync } from 'node:fs'
import path from 'node:path'

import type { ModelConfig } from '../../config/project.ts'

/**
 * What a model reads and is not there now, for people: it may come, but more often its path was mistyped. Queries are not
 * looked into.
 * @param root - folder of the configuration, to which its paths are relative
 */
export function missingFiles({ holdout, pipeline }: ModelConfig, root: string): string[] {
  const isThere = (file: string) => existsSync(path.resolve(root, file)) || matchesAny(file, root)
  const inputs = pipeline.steps.flatMap(({ name, inputs: its }) =>
    its.flatMap(({ name: input, source }) =>
      source.kind === 'file' && !isThere(source.path)
        ? [`input '${input}' of step '${name}' is not there: nothing matches ${source.path}, so the step can't run`]
        : [],
    ),
  )
  const held =
    holdout?.kind === 'file' && !isThere(holdout.path)
      ? [`holdout ${holdout.path} is not there, so versions can't be measured`]
      : []
  return [...inputs, ...held]
}

/** The first match is enough: a pattern may have many. */
function matchesAny(pattern: string, cwd: string): boolean {
  if (!/[*?[{]/.test(pattern)) return false
  try {
    return globSync(pattern, { cwd }).length > 0
  } catch {
    return true // A folder that can't be read is said by the step, which names it.
  }
}
