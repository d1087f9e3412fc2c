import type { OnnxFacts } from './onnx-file.ts'
import { CLASSES_PROPERTY, ORIGINAL_PROPERTY, parseClasses } from './zip-map.ts'

/** What a person should know of how this file is served; from the file itself, so that it is never lost. Pure. */
export function servingNotes(facts: Pick<OnnxFacts, 'metadata' | 'skippedOutputs'>): string[] {
  const original = facts.metadata[ORIGINAL_PROPERTY]
  const classes = parseClasses(facts.metadata[CLASSES_PROPERTY] ?? '{}') ?? {}
  const rewritten = Object.entries(classes).map(
    ([name, labels]) =>
      `output '${name}' came as a list of dictionaries (ZipMap) and is served as FP32 [-1, ${labels.length}], one column for each of the classes ${shortList(labels)}; the file as it was written is ${original}`,
  )
  return [
    ...(original === undefined ? [] : rewritten),
    ...facts.skippedOutputs.map(
      ({ name, kind }) => `output '${name}' is a ${kind} and is not served: only tensors are`,
    ),
  ]
}

const LABELS_SHOWN = 10

function shortList(labels: readonly string[]): string {
  const shown = labels.slice(0, LABELS_SHOWN).join(', ')
  return labels.length > LABELS_SHOWN ? `${shown}, … (${labels.length})` : shown
}
