import { z } from 'zod'

/*
 * Small parts of the nouns of the control API. Units are in the names: `…Ms` is milliseconds, `…AtMs` and `…SinceMs` are
 * milliseconds since 1970, `…Bytes` bytes, `…Percent` 0–100. What is not known (yet) is null, never absent.
 */

export const atMs = (what: string) => z.number().describe(`${what}, ms since 1970`)
/** As far as a Date reaches. */
const DATE_MAX_MS = 8.64e15
/** A time that a caller gives; the store has whole milliseconds. */
export const givenAtMs = (what: string) =>
  z
    .number()
    .min(-DATE_MAX_MS, 'is before all dates')
    .max(DATE_MAX_MS, 'is after all dates')
    .overwrite((ms) => Math.round(ms))
    .describe(`${what}, ms since 1970`)
export const absolutePath = z
  .string()
  .max(4_096)
  .regex(/^\//, 'must be absolute, as the control plane runs in a folder of its own')
export const atMsOrNull = (what: string) => z.number().nullable().describe(`${what}, ms since 1970; null: not yet`)
export const durationMs = (what: string) => z.number().nonnegative().describe(`${what}, in ms`)
export const count = (what: string) => z.number().int().nonnegative().describe(what)
export const modelName = z.string().min(1).max(100).describe('Name of a model, e.g. `late-flight`')
export const versionRef = z
  .string()
  .regex(/^[^@\s/]+@[^@\s/]+$/, 'a version is written model@number or model@alias, e.g. late-flight@7')
  .describe('A model version: `model@number` or `model@alias`, e.g. `late-flight@7`, `late-flight@champion`')
export const why = z.string().max(2_000).describe('The reason, for people; with its numbers')
export const givenWhy = z.string().trim().min(1, 'a reason is needed').max(2_000).describe('The reason, kept for good')
export const by = z.string().min(1).max(200).describe('Who does this')
export const limit = z.number().int().min(1).max(1_000).describe('At most so many, newest first')
export const sha256 = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .describe('Digest of an artifact: `sha256:` and 64 hex digits')
