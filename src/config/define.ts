import type { ModelInput, ProjectInput } from './input.ts'

/**
 * The configuration of a project, with completion and checking in the editor. Returns what it is given.
 * @example
 * import { defineProject } from 'millrace'
 *
 * export default defineProject({
 *   name: 'flights',
 *   models: {
 *     'late-flight': { task: 'binary', label: 'late', holdout: 'data/holdout.parquet', train: 'python train.py' },
 *   },
 * })
 */
export function defineProject(project: ProjectInput): ProjectInput {
  return project
}

/**
 * One model, for a constant or a file of its own. Returns what it is given.
 * @example
 * const lateFlight = defineModel({
 *   task: 'binary',
 *   label: 'late',
 *   holdout: { sql: "select * from 'data/weeks/*.parquet' where week > 40" },
 *   train: 'python train.py',
 *   on: { newData: 'data/weeks/*.parquet' },
 * })
 */
export function defineModel(model: ModelInput): ModelInput {
  return model
}
