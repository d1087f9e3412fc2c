/** Work in steps, between which others may have a turn. */
export type Steps<T> = Generator<undefined, T, undefined>

/** The same without a pause, for what is known to be little. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}
