import { setTimeout as sleep } from 'node:timers/promises'

import { MillraceError } from '../../kernel/errors.ts'

/** A control plane that restarts is waited for so long. */
export const PATIENCE_MS = 60_000
const LOOK_MS = 250

/** Looking again changes nothing, so whatever may pass is waited out, for PATIENCE_MS at most. For reads only. */
export async function patiently<T>(look: () => Promise<T>): Promise<T> {
  const endsAtMs = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await look()
    } catch (error) {
      const mayPass = error instanceof MillraceError && error.retryable && performance.now() < endsAtMs
      if (!mayPass) throw error
      await sleep(LOOK_MS)
    }
  }
}
