/** Everything that is known to use a version now. Gathered by use-facts.ts. */
export interface UseFacts {
  versionId: string
  routes: { endpoint: string; weightPercent: number; mirror: boolean }[]
  /** Open releases and rollbacks that bring it, or that go back to it when they fail. */
  releases: { id: string; status: string; as: 'target' | 'champion' }[]
  trials: string[]
  /** Open evaluations that measure it or compare with it. */
  evaluations: string[]
  aliases: string[]
  fallbackOf: string[]
  pins: { caller: string; lastCalendarMs: number }[]
  /** Gathers that it answers in, or is about to. */
  gathers: { endpoint: string; status: 'joining' | 'member' }[]
  /** Callers that are kept on it until a time, by a person. */
  callerPins: { caller: string; endpoint: string; expiresAtMs: number }[]
  /** The endpoint of which its deployment is the only one that is ready. */
  lastHealthyOf: string | null
  /** The freeze after the rollback that this version lost. */
  lostTo: string | null
  /** Runs, backfills and jobs that read it. */
  readers: string[]
  /** At any gateway, by their last word. */
  inFlight: number
  /** A person's protection. */
  keptBy: { by: string; why: string; untilCalendarMs: number | null } | null
}

/**
 * The in-use guard: what holds a version, one line each, for people. While there is one it is neither drained, stopped
 * nor deleted. Pure. A calendar that was set backwards holds longer, never shorter.
 * @param pinMs - a call by number counts as use for so long
 */
export function holders(facts: UseFacts, calendarMs: number, pinMs: number): string[] {
  const held: string[] = []
  for (const { endpoint, weightPercent, mirror } of facts.routes)
    held.push(mirror ? `copies of live traffic on ${endpoint}` : `live traffic on ${endpoint} (${weightPercent}%)`)
  for (const { id, status, as } of facts.releases)
    held.push(as === 'target' ? `${id} (${status})` : `${id} (${status}) goes back to it when it fails`)
  for (const id of facts.trials) held.push(`${id} is running`)
  for (const id of facts.evaluations) held.push(`${id} is measuring it`)
  for (const alias of facts.aliases)
    held.push(`alias ${alias}${alias === 'previous' ? ' (what a rollback goes to)' : ''}`)
  for (const endpoint of facts.fallbackOf) held.push(`fallback of ${endpoint}`)
  for (const { caller, lastCalendarMs } of facts.pins)
    if (calendarMs - lastCalendarMs < pinMs)
      held.push(`called by its number by ${caller}, last at ${isoMinute(lastCalendarMs)}`)
  for (const { endpoint, status } of facts.gathers)
    held.push(status === 'member' ? `member of gather ${endpoint}` : `joining gather ${endpoint}`)
  for (const { caller, endpoint, expiresAtMs } of facts.callerPins)
    held.push(`${caller} is pinned to it on ${endpoint} until ${isoMinute(expiresAtMs)}`)
  if (facts.lastHealthyOf !== null) held.push(`the last healthy version of ${facts.lastHealthyOf}`)
  if (facts.lostTo !== null) held.push(`${facts.lostTo}: kept to look into while the rollback's freeze lasts`)
  for (const reader of facts.readers) held.push(`read by ${reader}`)
  if (facts.inFlight > 0) held.push(`${facts.inFlight} requests in flight`)
  if (isKept(facts, calendarMs)) held.push(`kept by ${facts.keptBy!.by}${until(facts)}: ${facts.keptBy!.why}`)
  return held
}

/** Held by nothing, a fact for each kind of use: where a test or a reader begins. */
export const unused = (versionId: string): UseFacts => ({
  versionId,
  routes: [],
  releases: [],
  trials: [],
  evaluations: [],
  aliases: [],
  fallbackOf: [],
  pins: [],
  gathers: [],
  callerPins: [],
  lastHealthyOf: null,
  lostTo: null,
  readers: [],
  inFlight: 0,
  keptBy: null,
})

const isKept = ({ keptBy }: UseFacts, calendarMs: number) =>
  keptBy !== null && (keptBy.untilCalendarMs === null || calendarMs < keptBy.untilCalendarMs)

function until({ keptBy }: UseFacts): string {
  const ms = keptBy?.untilCalendarMs ?? null
  return ms === null ? '' : ` until ${isoMinute(ms)}`
}

const isoMinute = (ms: number) => `${new Date(ms).toISOString().slice(0, 16)}Z`
