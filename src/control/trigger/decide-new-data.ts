/** A file as it was at a firing. */
export interface SeenFile {
  sizeBytes: number
  mtimeMs: number
  /** `sha256:…`: a file that was only touched is not new. */
  digest: string
}

export interface FoundFile {
  path: string
  sizeBytes: number
  mtimeMs: number
  /** Since when its size and time have been the same, as seen by this process (monotonic). */
  stableSinceMs: number
}

export type NewDataDecision =
  | { kind: 'wait'; state: 'watching' | 'settling' | 'waiting'; why: string; againAtMs: number | null }
  | { kind: 'examine'; paths: string[] } // settled and looking new: their digests decide

/** What to do with what lies there now. Pure. @param nowMs - monotonic */
export function decideNewData(
  found: FoundFile[],
  seen: Record<string, SeenFile>,
  config: { settleMs: number; minFiles: number },
  nowMs: number,
): NewDataDecision {
  const changed = found.filter(
    (f) => seen[f.path] === undefined || seen[f.path]!.sizeBytes !== f.sizeBytes || seen[f.path]!.mtimeMs !== f.mtimeMs,
  )
  if (changed.length === 0) return { kind: 'wait', state: 'watching', why: nothingNew(found.length), againAtMs: null }
  const settled = changed.filter((f) => nowMs - f.stableSinceMs >= config.settleMs)
  const moving = changed.length - settled.length
  const againAtMs =
    moving === 0 ? null : Math.min(...changed.map((f) => f.stableSinceMs + config.settleMs).filter((at) => at > nowMs))
  if (settled.length < config.minFiles && moving > 0)
    return { kind: 'wait', state: 'settling', why: `${count(moving)} may still be written`, againAtMs }
  if (settled.length < config.minFiles)
    return {
      kind: 'wait',
      state: 'waiting',
      why: `${settled.length} of ${config.minFiles} new files are there`,
      againAtMs,
    }
  // While anything is still being written, what belongs together may not be complete.
  if (moving > 0) return { kind: 'wait', state: 'settling', why: `${count(moving)} may still be written`, againAtMs }
  return { kind: 'examine', paths: settled.map((f) => f.path).toSorted() }
}

const nothingNew = (files: number) => (files === 0 ? 'no file matches' : `nothing new among ${count(files)}`)

export type Examined =
  | { kind: 'unchanged'; seen: Record<string, SeenFile> } // only touched: remembered, nothing fires
  | { kind: 'tooFew'; why: string; seen: Record<string, SeenFile> } // what was only touched is remembered
  | { kind: 'fire'; why: string; seen: Record<string, SeenFile> }

/** After the digests are known: whether it fires. Pure. */
export function decideExamined(
  now: Record<string, SeenFile>,
  seen: Record<string, SeenFile>,
  minFiles: number,
): Examined {
  const fresh = Object.keys(now)
    .filter((path) => seen[path]?.digest !== now[path]!.digest)
    .toSorted()
  if (fresh.length === 0) return { kind: 'unchanged', seen: { ...seen, ...now } }
  if (fresh.length < minFiles) {
    const touched = Object.fromEntries(Object.entries(now).filter(([path]) => !fresh.includes(path)))
    return { kind: 'tooFew', why: `${fresh.length} of ${minFiles} new files are there`, seen: { ...seen, ...touched } }
  }
  const names = fresh.slice(0, 3).join(', ') + (fresh.length > 3 ? ` and ${fresh.length - 3} more` : '')
  return {
    kind: 'fire',
    why: `${fresh.length} new ${fresh.length === 1 ? 'file' : 'files'}: ${names}`,
    seen: { ...seen, ...now },
  }
}

const count = (n: number) => `${n} ${n === 1 ? 'file' : 'files'}`
