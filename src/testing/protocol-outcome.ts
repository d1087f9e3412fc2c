import { ProtocolError } from '../kernel/protocol/errors.ts'

/** `read`, or the status of what was thrown; anything else fails the test. */
export function outcomeOf(read: () => unknown): 'read' | number {
  try {
    read()
    return 'read'
  } catch (error) {
    if (error instanceof ProtocolError) return error.status
    throw error
  }
}
