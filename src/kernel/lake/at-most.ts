import { LakeQueryBusyError } from './errors.ts'

/** The same, for so many callers at a time; the others are refused, not kept waiting. @throws LakeQueryBusyError */
export function atMost<Input, Result>(
  max: number,
  query: (input: Input) => Promise<Result>,
): (input: Input) => Promise<Result> {
  let running = 0
  return async (input) => {
    if (running >= max) throw new LakeQueryBusyError(running)
    running += 1
    try {
      return await query(input)
    } finally {
      running -= 1
    }
  }
}
