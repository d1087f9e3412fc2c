import { setTimeout as sleep } from 'node:timers/promises'

/** A machine that is shared with others may take long; longer than this means that it does not come about. */
const PATIENCE_MS = 60_000
const LOOK_MS = 20

/**
 * Asks again and again until the answer is neither null, undefined nor false.
 * @throws after `withinMs`, with what was waited for and the last error that `ask` threw
 */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  { withinMs = PATIENCE_MS, everyMs = LOOK_MS }: { withinMs?: number; everyMs?: number } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const giveUpAtMs = performance.now() + withinMs
  let last: unknown = null
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== null && answer !== undefined && answer !== false) return answer as NonNullable<Exclude<T, false>>
      last = null
    } catch (error) {
      // While processes are being killed calls fail: what counts is whether they succeed in time.
      last = error
    }
    if (performance.now() > giveUpAtMs)
      throw new Error(`Waited ${withinMs / 1000} s for ${what}, in vain.`, { cause: last })
    await sleep(everyMs)
  }
}

/** The same clock for all processes of the machine, ms since 1970. */
export const nowMs = (): number => performance.timeOrigin + performance.now()
