/**
 * Start of the newest window whose labels have had their time. Windows follow each other from 1970-01-01 UTC, so that
 * the same calendar time always gives the same ones. Pure.
 * @returns null before the first
 */
export function newestMaturedWindow(calendarMs: number, windowMs: number, labelDelayMs: number): number | null {
  const start = (Math.floor((calendarMs - labelDelayMs) / windowMs) - 1) * windowMs
  return start < 0 ? null : start
}
