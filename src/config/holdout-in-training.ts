import { matchesGlob } from 'node:path'
import type { ModelConfig } from './project.ts'

/**
 * Whether a model is, by the looks of its paths, measured on rows that it is trained on: such a version proves nothing,
 * and as champion keeps honest ones out. Queries are not looked into.
 * @returns the input or trigger whose files the holdout is among, e.g. `data/*.csv`; null where none is
 */
export function holdoutInTraining({ holdout, triggers, pipeline }: ModelConfig): string | null {
  if (holdout?.kind !== 'file') return null
  const triggering = triggers.flatMap((trigger) => (trigger.kind === 'newData' ? [trigger.path] : []))
  const read = pipeline.steps.flatMap(({ inputs }) =>
    inputs.flatMap(({ source }) => (source.kind === 'file' ? [source.path] : [])),
  )
  const at = plain(holdout.path)
  return [...read, ...triggering].find((path) => plain(path) === at || matchesGlob(at, plain(path))) ?? null
}

const plain = (path: string) => path.replace(/^(?:\.\/)+/, '')

/** For people, where it is so. */
export function holdoutWarning(model: ModelConfig): string | null {
  const path = holdoutInTraining(model)
  if (path === null || model.holdout?.kind !== 'file') return null
  return `holdout ${model.holdout.path} is among what training reads (${path}): a version that has seen the rows that it is measured on proves nothing. Put rows aside that training never sees, the newest ones`
}
