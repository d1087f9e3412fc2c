import { messageOf, MillraceError } from '../kernel/errors.ts'
import { SpawnError } from '../kernel/runtime/errors.ts'
import type { StarterMessage, StarterOrder } from '../kernel/runtime/process/step-starter.ts'
import { startStep } from '../kernel/runtime/process/step-process.ts'

/** Starts steps for the control plane, which tells it by messages; see kernel/runtime/process/step-starter.ts. */
async function begin(options: StarterOrder): Promise<void> {
  const { token } = options
  let survivor: string | null = null
  try {
    const { pid, exited } = await startStep({ ...options, onSurvivor: (error) => (survivor = messageOf(error)) })
    say({ token, kind: 'begun', pid })
    const status = await exited
    say({ token, kind: 'ended', status, survivor })
  } catch (error) {
    const known = error instanceof MillraceError ? error : new SpawnError(options.command, messageOf(error), error)
    const { code, kind, message, fix, retryable } = known
    say({ token, kind: 'failed', facts: { code, kind, message, retryable, ...(fix === undefined ? {} : { fix }) } })
  }
}

/** Whoever it is said to may be gone; then this process ends. */
function say(message: StarterMessage): void {
  process.send?.(message, undefined, undefined, () => {})
}

process.on('message', (options) => void begin(options as StarterOrder))
process.on('disconnect', () => process.exit(0))
