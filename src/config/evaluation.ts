import type { NotPlain } from './plain-value.ts'

/** What the process that runs a configuration says to the one that asked, once. */
export type Evaluation =
  | { kind: 'value'; value: unknown }
  | { kind: 'notPlain'; found: NotPlain[] }
  | { kind: 'noDefault'; exported: string[] }
  | { kind: 'threw'; name: string; code: string | null; message: string; stack: string }

/** A configuration with more JSON than this is refused: it holds data, not settings. */
export const VALUE_MAX_BYTES = 5_000_000
