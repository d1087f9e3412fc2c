import type { ControlContext } from './control-context.ts'

/** Without news a look is made at most so seldom: what leaves no event (calls, files) is seen by then. */
const QUIET_MS = 10_000
const HOUR_MS = 3_600_000

/**
 * A look that reads much and mostly finds nothing, made only where something can have changed for it: an event, a
 * revision, an hour of the calendar, free disk space. Asking for that is one query. One that fails, or that asks to look
 * again, is made again in any case.
 */
export function lookOnNews(
  context: Pick<ControlContext, 'store' | 'clock' | 'project' | 'diskLow'>,
  look: () => Promise<number | void>,
): () => Promise<number | void> {
  let done: { of: string; atMs: number } | null = null
  return async () => {
    // Read before the look: what happens during it is news for the next.
    const of = await newsOf(context)
    const nowMs = context.clock.monotonicMs()
    if (done?.of === of && nowMs - done.atMs < QUIET_MS) return undefined
    done = null
    const againInMs = await look()
    if (againInMs === undefined) done = { of, atMs: nowMs }
    return againInMs
  }
}

async function newsOf({
  store,
  clock,
  project,
  diskLow,
}: Pick<ControlContext, 'store' | 'clock' | 'project' | 'diskLow'>): Promise<string> {
  const { last } = await store.db
    .selectFrom('event')
    .select((eb) => eb.fn.max('id').as('last'))
    .executeTakeFirstOrThrow()
  const hour = Math.floor(clock.calendarMs() / HOUR_MS)
  return JSON.stringify([last, project()?.revisionId ?? null, hour, diskLow()])
}
