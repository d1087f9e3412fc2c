/** `ENOENT`, `EROFS`, …; null for what is no system error. */
export function errnoOf(thrown: unknown): string | null {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return null
  return typeof thrown.code === 'string' ? thrown.code : null
}

/** For reading /proc and sending signals: that process is gone, or going. */
export function isGone(thrown: unknown): boolean {
  const code = errnoOf(thrown)
  return code === 'ENOENT' || code === 'ESRCH'
}

/** There is nothing at that path. */
export function isMissing(thrown: unknown): boolean {
  const code = errnoOf(thrown)
  return code === 'ENOENT' || code === 'ENOTDIR'
}
