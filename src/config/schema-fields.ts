import { z } from 'zod'
import { durationMs, sizeBytes } from './units.ts'

/**
 * The kinds of fields. Each says in its message everything it wants ("must be a whole number from 1 to 64"), and in its
 * metadata an example, from which problems.ts makes the advice.
 */

/** Safe in paths, URLs, host names and SQL; the length leaves room for suffixes within a host name's 63. */
export const namePattern = /^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/

/** Becomes part of an environment variable: MILLRACE_PARAM_<NAME>, MILLRACE_INPUT_<NAME>. */
export const variablePattern = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/

export const nameRule = 'must be 1 to 40 lower-case letters, digits and hyphens, starting with a letter'
export const variableRule = 'must be up to 64 letters, digits, "_", "-" and ".", starting with a letter'

export const name = (example: string) =>
  z
    .string({ error: nameRule })
    .regex(namePattern, nameRule)
    .meta({ examples: [example] })

/** A record whose keys are names of models or steps. */
export const namedBy = <T extends z.ZodType>(value: T) =>
  z.record(z.string().regex(namePattern, nameRule), value, { error: 'must be an object with one entry per name' })

/** A record whose keys are names of parameters or inputs. */
export const variables = <T extends z.ZodType>(value: T) =>
  z.record(z.string().regex(variablePattern, variableRule), value, {
    error: 'must be an object with one entry per name',
  })

export function text(what: string, example: string) {
  const rule = `must be ${what}`
  return z
    .string({ error: rule })
    .refine((value) => value.trim() !== '' && !value.includes('\0'), { error: rule })
    .meta({ examples: [example] })
}

/** A path that has to stay in the project's folder, since it is looked up in a snapshot of it. */
export function insidePath(what: string, example: string) {
  const rule = `must be ${what} inside the project's folder`
  return text(`${what} inside the project's folder`, example)
    .refine((path) => !/^([/\\~]|[A-Za-z]:)/.test(path) && !path.split(/[/\\]/).includes('..'), { error: rule })
    .meta({ examples: [example] })
}

export function number(min: number, max: number, example: number) {
  const rule = `must be a number ${rangeText(min, max)}`
  return z
    .number({ error: rule })
    .min(min, rule)
    .max(max, rule)
    .meta({ examples: [example] })
}

export function integer(min: number, max: number, example: number) {
  const rule = `must be a whole number ${rangeText(min, max)}`
  return z
    .int({ error: rule })
    .min(min, rule)
    .max(max, rule)
    .meta({ examples: [example] })
}

export function boolean() {
  return z.boolean({ error: 'must be true or false' }).meta({ examples: [true] })
}

export function oneOf<const T extends [string, ...string[]]>(...values: T) {
  const listed = values.map((value) => `'${value}'`)
  const last = listed.pop()
  const rule = listed.length === 0 ? `must be ${last}` : `must be ${listed.join(', ')} or ${last}`
  return z.enum(values, { error: rule }).meta({ examples: [values[0]] })
}

/** `"15m"` in, milliseconds out. */
export function duration(min: string, max: string, example: string) {
  return unit(
    durationMs,
    min,
    max,
    example,
    `must be a duration from "${min}" to "${max}"`,
    'written as a number and ms, s, m, h, d or w',
  )
}

/** `"200MB"` in, bytes out. */
export function size(min: string, max: string, example: string) {
  return unit(
    sizeBytes,
    min,
    max,
    example,
    `must be a size from "${min}" to "${max}"`,
    'written as a number and B, kB, MB, GB or KiB, MiB, GiB',
  )
}

function unit(
  read: (text: string) => number | null,
  min: string,
  max: string,
  example: string,
  range: string,
  form: string,
) {
  const rule = `${range}, ${form}`
  return z
    .string({ error: rule })
    .meta({ examples: [example] })
    .transform((written, context) => {
      const amount = read(written)
      if (amount !== null && amount >= read(min)! && amount <= read(max)!) return amount
      context.addIssue({ code: 'custom', message: amount === null ? rule : range })
      return z.NEVER
    })
}

function rangeText(min: number, max: number): string {
  if (max === Number.MAX_SAFE_INTEGER || max === Number.MAX_VALUE) return `of at least ${min}`
  return `from ${min} to ${max}`
}
