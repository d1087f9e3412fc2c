import type { ModelConfig } from './project.ts'

/**
 * Fields without which versions are trained and registered, but released only on approval: what can't be guessed can't
 * be automated.
 * @returns field names as the user writes them, e.g. `['holdout', 'label']`; empty when nothing is missing
 */
export function missingForAutomation(model: ModelConfig): string[] {
  return (['holdout', 'label', 'task'] as const).filter((field) => model[field] === null)
}
