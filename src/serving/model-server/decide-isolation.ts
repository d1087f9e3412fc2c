/**
 * Where a model runs. A run in the server's own process costs least, but nothing else happens there meanwhile: no
 * health check, no other model; the same goes for loading.
 */
export type Isolate = 'auto' | 'always' | 'never'

/** A run of one row that takes longer is heavy. */
export const HEAVY_RUN_MS = 15
/** Loading so much holds up the others for longer than a run may: some hundred milliseconds. */
export const LARGE_BYTES = 128 * 1024 * 1024

/** `own`: a process of its own. `measure`: it takes a run in this process to know. */
export type Isolation = { kind: 'own' | 'here'; why: string } | { kind: 'measure' }

/** Before the model is loaded. */
export function decideBeforeLoad(
  isolate: Isolate,
  facts: { /** With its weight files. */ sizeBytes: number; othersAreServed: boolean },
): Isolation {
  if (isolate === 'always') return { kind: 'own', why: 'it was asked for' }
  if (isolate === 'never') return { kind: 'here', why: 'a process of its own was declined' }
  if (!facts.othersAreServed || facts.sizeBytes <= LARGE_BYTES) return { kind: 'measure' }
  const megabytes = Math.round(facts.sizeBytes / 1024 / 1024)
  return { kind: 'own', why: `loading its ${megabytes} MB here would hold up the models that are served already` }
}

/** @param oneRowMs - what a run of one row takes; null: no row is known that the model accepts */
export function decideByRun(oneRowMs: number | null): Exclude<Isolation, { kind: 'measure' }> {
  if (oneRowMs === null) return { kind: 'here', why: 'no row is known that it accepts, so it was not measured' }
  const measured = `a run of one row takes ${oneRowMs.toFixed(1)} ms`
  return oneRowMs <= HEAVY_RUN_MS
    ? { kind: 'here', why: measured }
    : { kind: 'own', why: `${measured}, more than ${HEAVY_RUN_MS}` }
}
